"""Every client's own baseline is a floor: who falls below it counts more until it is back."""

import math
from typing import Final

TARGET: Final = 0.99
"""Goodput relative to the client's own target-only baseline."""
GAIN: Final = 4.0
"""Growth of the logarithm per measurement and unit of what is missing to the target."""
MAX_FACTOR: Final = 16.0
"""Limits what one client can cost the others."""


class FloorMultiplier:
    """The factor of a client's weight: 1 plus the multiplier of the constraint that its goodput is not below its floor.

    The sum of the logarithms of goodputs may be highest where one client pays for the drafts of others. The constraint
    log(goodput) >= log(TARGET * baseline) forbids that. Its Lagrange multiplier adds to the client's weight in the
    objective: the tokens of others then cost more, as far as they delay it. It rises while the client is below the
    floor, and falls while it is above (dual ascent).
    """

    __slots__ = ("_log_factor",)

    def __init__(self) -> None:
        self._log_factor = 0.0

    @property
    def factor(self) -> float:
        """1 to MAX_FACTOR."""
        return math.exp(self._log_factor)

    def observe(self, baseline_s: float, elapsed_s: float) -> None:
        """A part of an answer took `elapsed_s`; in target-only mode it would have taken `baseline_s`."""
        if elapsed_s <= 0.0:
            return
        change = GAIN * (TARGET - baseline_s / elapsed_s)
        self._log_factor = min(math.log(MAX_FACTOR), max(0.0, self._log_factor + change))
