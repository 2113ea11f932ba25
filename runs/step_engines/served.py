"""An engine's side of runs/engine_step.py: a case a line comes in, the seconds of its steps go out.

This file and its neighbours run in the interpreter that has the engine installed, which need not have goodspeed.
"""

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypedDict


class Case(TypedDict):
    """Steps over `streams` streams of `context` tokens, with `tokens` new tokens each."""

    streams: int
    tokens: int
    context: int
    steps: int


ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # from here on, since what a library prints is no answer


def serve(measure: Callable[[Case], Sequence[float]]) -> None:
    """Answer until the input ends."""
    print("ready", file=ANSWERS, flush=True)
    for line in sys.stdin:
        print(json.dumps(list(measure(json.loads(line)))), file=ANSWERS, flush=True)


def prompt(case: Case, stream: int) -> list[int]:
    """Ordinary tokens, other ones for every stream."""
    return [1000 + (7919 * i + 104729 * stream) % 40000 for i in range(case["context"])]
