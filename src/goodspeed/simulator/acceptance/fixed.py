"""Every draft token is right with the same probability, whatever came before: the model of the papers."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.acceptance.block_trace import BlockTrace, DrawnBits, independent_bits


@config_dataclass
class FixedConfig:
    """One acceptance rate."""

    rate: float = option(0.7, "probability that a draft token is right, given that all before it are", ge=0.0, le=1.0)


class FixedAcceptance:
    """Independent bits at one rate."""

    def __init__(self, config: FixedConfig, concentration: float) -> None:
        self._rate = config.rate
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        return BlockTrace(self._draw, self._concentration, rng)

    def _draw(self, rng: np.random.Generator, num: int) -> DrawnBits:
        return independent_bits(np.full(num, self._rate), rng)
