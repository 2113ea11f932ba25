"""How long a step takes by its size, where that is no straight line: the knee of an engine, and steps in its time.

A GPU's time is flat, then rises, and it jumps where a kernel needs another wave or another shape. A slope at the
present size (StepTimeModel) sees none of that from afar.
"""

import math
from typing import Final

BINS_PER_OCTAVE: Final = 8
"""Sizes that differ by less than a tenth are alike."""
BIN_WEIGHT: Final = 1 / 16
"""Of the latest step in its bin."""
SPEED_WEIGHT: Final = 1 / 4
"""Of the latest step in the slowness of the machine: more than in its bin, so that a change moves all bins."""


class StepCurve:
    """Seconds of a step by its number of tokens, from past steps of about that size."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}  # by bin, divided by the slowness
        self._log_slowness = 0.0  # of the machine, relative to its first steps

    def observe(self, num_tokens: int, step_s: float) -> None:
        """A step over `num_tokens`, at least 1 and prompt tokens included, took `step_s`."""
        if step_s <= 0.0:
            return
        index = _bin(num_tokens)
        known = self._seconds.get(index)
        if known is None:
            self._seconds[index] = step_s / math.exp(self._log_slowness)
            return
        self._log_slowness += SPEED_WEIGHT * (math.log(step_s / known) - self._log_slowness)
        self._seconds[index] = known + BIN_WEIGHT * (step_s / math.exp(self._log_slowness) - known)

    def seconds(self, num_tokens: int) -> float | None:
        """Of such a step at the present speed; None if no step was of about that size."""
        known = self._seconds.get(_bin(num_tokens))
        return None if known is None else known * math.exp(self._log_slowness)


def _bin(num_tokens: int) -> int:
    return round(BINS_PER_OCTAVE * math.log2(num_tokens))
