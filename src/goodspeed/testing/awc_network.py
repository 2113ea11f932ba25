"""Small networks of the window policy AWC with known outputs."""

from typing import Final

import numpy as np

from goodspeed.windows.awc.features import INPUTS, InputScaling
from goodspeed.windows.awc.network import AwcManifest, AwcNetwork, shapes

HIDDEN: Final = 4


def manifest(scaling: InputScaling | None = None, hidden: int = HIDDEN) -> AwcManifest:
    return AwcManifest(scaling or InputScaling(), "made for a test", "0" * 40, "none", hidden=hidden)


def linear_network(constant: float, lag: int = 0, **factors: float) -> AwcNetwork:
    """A network whose window is `constant` + the sum of factor * input, by the names in INPUTS, `lag` decisions ago."""
    weights = {name: np.zeros(shape, np.float32) for name, shape in shapes(HIDDEN).items()}
    weights["output.bias"][0] = constant
    weights["output.weight"][0] = 1.0
    for name, factor in factors.items():
        weights["input.weight"][0, lag * len(INPUTS) + INPUTS.index(name)] = factor
    return AwcNetwork(manifest(), weights)


def random_network(seed: int, hidden: int = 32) -> AwcNetwork:
    """A network with random weights."""
    rng = np.random.default_rng(seed)
    weights = {name: (rng.normal(size=shape) / 4).astype(np.float32) for name, shape in shapes(hidden).items()}
    return AwcNetwork(manifest(InputScaling((0.5, 0.5, 0.03, 0.03, 4.0), (0.5, 0.3, 0.02, 0.02, 3.0)), hidden), weights)
