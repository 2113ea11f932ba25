"""The worker side of runs/engine_step.py: reads one case per line and answers with the seconds of its steps.

This file and its neighbours run in the interpreter that has the engine installed, which need not have goodspeed.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypedDict


class StepCase(TypedDict):
    """Steps over `streams` streams of `context` tokens, with `tokens` new tokens each."""

    streams: int
    tokens: int
    context: int
    steps: int


ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # so that output of libraries does not mix with the answers


def serve(measure: Callable[[StepCase], Sequence[float]]) -> None:
    """Answer cases until the input ends."""
    print("ready", file=ANSWERS, flush=True)
    for line in sys.stdin:
        print(json.dumps(list(measure(json.loads(line)))), file=ANSWERS, flush=True)


def prompt(case: StepCase, stream: int) -> list[int]:
    """Ordinary tokens, different for every stream."""
    return [1000 + (7919 * i + 104729 * stream) % 40000 for i in range(case["context"])]
