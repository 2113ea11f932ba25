"""The end of a replication's warm-up: given, or found by MSER-5 in a pilot run.

A simulation starts empty, and its first answers are faster than those of a system in steady state.
MSER-5 (White, Cobb and Spratt 2000, "A comparison of five steady-state truncation heuristics") averages a series in
batches of five and drops the first d batches, where d minimises the squared standard error of the rest,
sum_{i>d} (y_i - mean_d)^2 / (n - d)^2: dropping a biased batch reduces the variance, dropping a good one loses data.
The series is the answers' time per token, first token included; latencies also vary with the answers' lengths.

A cut that is found in the run that it is applied to drops answers that happened to be slow, and biases the rest. It is
therefore found in a separate run, under a seed that does not count, and applied to all replications.
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
MIN_BATCHES = 20
"""With fewer batches the position of the minimum is random."""
MIN_BATCHES_LEFT = 5
"""Batches that are always kept: with a single one the criterion would be 0."""


class WarmUpSource(StrEnum):
    """The origin of a cut."""

    GIVEN = "given"
    FOUND = "MSER-5"
    TOO_FEW = "too few answers for MSER-5"
    NOT_SETTLED = "not settled: MSER-5 would drop more than half"


@dataclass(frozen=True, slots=True)
class WarmUp:
    """The warm-up: answers that finish up to `cut_s` of simulated time are left out."""

    cut_s: float
    source: WarmUpSource


def given_warm_up(text: str) -> WarmUp | None:
    """Parse seconds, or 'mser-5': None. Raises ConfigError."""
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
    """Find the cut by MSER-5 from the times per token of a pilot's answers, in the order in which they finished.

    A run that has not settled in its first half is cut in the middle, with source NOT_SETTLED.
    """
    if len(answers) < BATCH * MIN_BATCHES:
        return WarmUp(0.0, WarmUpSource.TOO_FEW)
    num_dropped = mser5([(answer.finished_s - answer.requested_s) / answer.num_answer_tokens for answer in answers])
    is_settled = 2 * num_dropped <= len(answers)
    num_dropped = num_dropped if is_settled else len(answers) // 2
    cut_s = answers[num_dropped - 1].finished_s if num_dropped else 0.0
    return WarmUp(cut_s, WarmUpSource.FOUND if is_settled else WarmUpSource.NOT_SETTLED)


def mser5(series: Sequence[float]) -> int:
    """The number of first values to drop, a multiple of 5. The series needs at least 25 values."""
    num_batches = len(series) // BATCH
    batches = np.asarray(series[: BATCH * num_batches], dtype=np.float64).reshape(num_batches, BATCH).mean(axis=1)
    centred = batches - batches.mean()  # against cancellation in the sums of squares below
    num_left = np.arange(num_batches, 0, -1)
    sums, squares = (np.cumsum(values[::-1])[::-1] for values in (centred, centred**2))
    criterion = (squares - sums**2 / num_left) / num_left**2
    return BATCH * int(np.argmin(criterion[: num_batches - MIN_BATCHES_LEFT + 1]))
