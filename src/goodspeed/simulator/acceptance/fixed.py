"""Every draft token is right with the same chance, whatever came before: the papers' model."""

from dataclasses import dataclass

import numpy as np

from goodspeed.config import option
from goodspeed.simulator.acceptance.block_trace import BlockTape, Drawn, luck
from goodspeed.simulator.ranges import share


@dataclass(frozen=True, slots=True)
class FixedConfig:
    """Raises ConfigError for a rate out of range."""

    rate: float = option(0.7, "chance that a draft token is right, given that all before it are")

    def __post_init__(self) -> None:
        share("fixed.rate", self.rate)


class FixedAcceptance:
    """Independent bits of one rate."""

    def __init__(self, config: FixedConfig, concentration: float) -> None:
        self._rate = config.rate
        self._concentration = concentration

    def tape(self, client: int, request: int, rng: np.random.Generator) -> BlockTape:  # noqa: ARG002
        return BlockTape(self._draw, self._concentration, rng)

    def _draw(self, rng: np.random.Generator, num: int) -> Drawn:
        return luck(np.full(num, self._rate), rng)
