"""Where a replication stops being about its start: given, or found by MSER-5 in a pilot run.

A simulation starts empty, and its first answers are quicker than those of a system that has been serving for long.
MSER-5 (White, Cobb and Spratt 2000, "A comparison of five steady-state truncation heuristics") averages a series in
batches of five and drops the d first batches that minimise the squared standard error of what is left,
sum_{i>d} (y_i - mean_d)^2 / (n - d)^2: dropping a biased batch narrows the spread, dropping a good one loses evidence.
The series is the answers' time per token, first token included: a latency would vary with the answer's length as well.

A cut that is found in the very run that it is applied to drops what happened to be slow, and the rest looks too good.
So it is found in a run of its own, under a seed that is not counted, and holds for all replications.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from goodspeed.errors import ConfigError
from goodspeed.simulator.result import AnswerRecord

MSER5 = "mser-5"
BATCH = 5
FEWEST_BATCHES = 20
"""With fewer the minimum is chance."""
FEWEST_LEFT = 5
"""Batches; the criterion falls to 0 where one batch is left."""


class WarmUpSource(StrEnum):
    """Where a cut comes from."""

    GIVEN = "given"
    FOUND = "MSER-5"
    TOO_FEW = "too few answers for MSER-5"
    NOT_SETTLED = "not settled: MSER-5 would drop more than half"


@dataclass(frozen=True, slots=True)
class WarmUp:
    """What is left out: answers that ended before `cut_s` of simulated time."""

    cut_s: float
    source: WarmUpSource


def given_warm_up(text: str) -> WarmUp | None:
    """Of seconds, or of 'mser-5': None. Raises ConfigError."""
    if text.lower() == MSER5:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.0 <= seconds < math.inf:
        raise ConfigError(f"warm-up is {text!r}, expected {MSER5} or seconds, 0 or more")
    return WarmUp(seconds, WarmUpSource.GIVEN)


def find_warm_up(answers: Sequence[AnswerRecord]) -> WarmUp:
    """By MSER-5 in the times per token of a pilot's answers, in the order in which they ended.

    A run that has not settled in its first half is cut in the middle, and says so.
    """
    if len(answers) < BATCH * FEWEST_BATCHES:
        return WarmUp(0.0, WarmUpSource.TOO_FEW)
    num_dropped = mser5([(answer.finished_s - answer.requested_s) / answer.num_answer_tokens for answer in answers])
    is_settled = 2 * num_dropped <= len(answers)
    num_dropped = num_dropped if is_settled else len(answers) // 2
    cut_s = answers[num_dropped - 1].finished_s if num_dropped else 0.0
    return WarmUp(cut_s, WarmUpSource.FOUND if is_settled else WarmUpSource.NOT_SETTLED)


def mser5(series: Sequence[float]) -> int:
    """How many of its first values to drop, a multiple of 5; at least 25 values."""
    num_batches = len(series) // BATCH
    batches = np.asarray(series[: BATCH * num_batches], dtype=np.float64).reshape(num_batches, BATCH).mean(axis=1)
    centred = batches - batches.mean()  # the sums of squares below would cancel otherwise
    num_left = np.arange(num_batches, 0, -1)
    sums, squares = (np.cumsum(values[::-1])[::-1] for values in (centred, centred**2))
    criterion = (squares - sums**2 / num_left) / num_left**2
    return BATCH * int(np.argmin(criterion[: num_batches - FEWEST_LEFT + 1]))
