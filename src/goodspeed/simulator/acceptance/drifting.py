"""A rate that changes from answer to answer: a user who moves on to other matters, a draft that learns."""

from dataclasses import dataclass

import numpy as np

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name
from goodspeed.simulator.acceptance.block_trace import BlockTape, luck
from goodspeed.simulator.ranges import at_least, share

SHAPES = ["linear", "step"]


@dataclass(frozen=True, slots=True)
class DriftingConfig:
    """Raises ConfigError for values out of range."""

    rates: tuple[float, ...] = option((0.8, 0.5), "rates that a client's answers go through, one after the other")
    num_answers: int = option(10, "a rate is reached, or holds, for so many answers")
    shape: str = option("step", "step: a rate holds, then the next one does; linear: from rate to rate in equal steps")
    is_cyclic: bool = option(True, "after the last rate the first one follows; else the last one stays")

    def __post_init__(self) -> None:
        if not self.rates:
            raise ConfigError("drifting.rates is empty, expected at least one rate")
        for rate in self.rates:
            share("drifting.rates", rate)
        at_least("drifting.num_answers", self.num_answers, 1)
        if self.shape not in SHAPES:
            raise ConfigError(f"unknown drifting.shape {self.shape!r}; {nearest_name(self.shape, SHAPES)}")

    def rate(self, request: int) -> float:
        """Of a client's request-th answer, from 0."""
        index, into = divmod(request, self.num_answers)
        here, there = self._rate(index), self._rate(index + 1)
        return here + (there - here) * into / self.num_answers if self.shape == "linear" else here

    def _rate(self, index: int) -> float:
        return self.rates[index % len(self.rates) if self.is_cyclic else min(index, len(self.rates) - 1)]


class DriftingAcceptance:
    """Independent bits, whose rate is the answer's."""

    def __init__(self, config: DriftingConfig, concentration: float) -> None:
        self._config = config
        self._concentration = concentration

    def tape(self, client: int, request: int, rng: np.random.Generator) -> BlockTape:  # noqa: ARG002
        rate = self._config.rate(request)
        return BlockTape(lambda rng, num: luck(np.full(num, rate), rng), self._concentration, rng)
