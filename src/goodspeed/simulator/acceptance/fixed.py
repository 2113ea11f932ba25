"""Every draft token is right with the same chance, whatever came before: the papers' model."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.acceptance.block_trace import BlockTrace, Drawn, independent_bits


@config_dataclass
class FixedConfig:
    """One acceptance rate."""

    rate: float = option(0.7, "probability that a draft token is right, given that all before it are", ge=0.0, le=1.0)


class FixedAcceptance:
    """Independent bits of one rate."""

    def __init__(self, config: FixedConfig, concentration: float) -> None:
        self._rate = config.rate
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        return BlockTrace(self._draw, self._concentration, rng)

    def _draw(self, rng: np.random.Generator, num: int) -> Drawn:
        return independent_bits(np.full(num, self._rate), rng)
