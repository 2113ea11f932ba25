"""Variants of AWC that lack one part each, and what the switch of mode alone brings."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from goodspeed.awc.evaluation import EvaluatedArm, awc_arm
from goodspeed.windows.awc.features import INPUTS
from goodspeed.windows.awc.network import AwcManifest
from goodspeed.windows.awc.policy import AwcConfig, WindowNetwork

MAX_UNCLAMPED = 16.0
"""A verifier's longest proposal."""
SWITCH_BELOW = 1.5
"""Windows that the policy would round to 1."""


@dataclass(frozen=True, slots=True)
class SwitchOnly:
    """The network's choice of mode, with DSD's static window of 4."""

    network: WindowNetwork

    @property
    def manifest(self) -> AwcManifest:
        return self.network.manifest

    def window(self, vector: npt.NDArray[np.float32]) -> float:
        return 1.0 if self.network.window(vector) < SWITCH_BELOW else 4.0


def variants(
    network: WindowNetwork, config: AwcConfig, train_without: Callable[[str], WindowNetwork]
) -> list[EvaluatedArm]:
    """AWC and its variants. `train_without` trains a network that lacks the input of that name."""
    arms = [
        awc_arm("awc", network, config),
        awc_arm("no clamp", network, replace(config, min_window=0.0, max_window=MAX_UNCLAMPED)),
        awc_arm("no smoothing", network, replace(config, smoothing=1.0)),
        awc_arm("no hysteresis", network, replace(config, hysteresis=1)),
        awc_arm("no switch of mode", network, replace(config, min_window=2.0)),
        awc_arm("switch of mode alone", SwitchOnly(network), config),
    ]
    return [*arms, *(awc_arm(f"without {name}", train_without(name), config) for name in INPUTS)]
