"""What AWC's network reads: five inputs, each as it is now and as it was at the two decisions before."""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from goodspeed.windows.window_policy import WindowView

INPUTS: Final = ("queue_utilisation", "recent_acceptance", "rtt_s", "tpot_s", "previous_window")
"""The inputs of DSD's controller (arXiv 2511.21669), in their order in the vector."""
HISTORY: Final = 3
"""Decisions that the vector holds."""
NUM_FEATURES: Final = HISTORY * len(INPUTS)


class InputScaling(Struct, frozen=True):
    """The network reads (input - offset) / scale. The defaults leave the inputs as they are."""

    offsets: tuple[float, ...] = (0.0,) * len(INPUTS)
    scales: tuple[float, ...] = (1.0,) * len(INPUTS)


class AwcFeatures:
    """The inputs of one link (a drafter and a verifier). Call observe once per decision, then vector."""

    def __init__(self, scaling: InputScaling) -> None:
        self._scaled: Final = [_scaler(*each) for each in zip(scaling.offsets, scaling.scales, strict=True)]
        self._values: list[float] = []

    def observe(self, view: WindowView, previous_window: int) -> None:
        """Take in the view of this decision, and the window of the decision before it.

        Before the first decision the inputs count as having been what they are now.
        """
        queue, acceptance, rtt, tpot, window = self._scaled
        latest = [
            queue(view.queue_utilisation),
            acceptance(view.link_acceptance),
            rtt(view.rtt_s),
            tpot(view.tpot_s),
            window(previous_window),
        ]
        self._values = latest + self._values[: -len(INPUTS)] if self._values else latest * HISTORY

    def vector(self) -> npt.NDArray[np.float32]:
        """[15] float32: the INPUTS of this decision, then those of the decision before, then of the one before that."""
        return np.array(self._values, dtype=np.float32)


def _scaler(offset: float, scale: float) -> Callable[[float], float]:
    return lambda value: (value - offset) / scale
