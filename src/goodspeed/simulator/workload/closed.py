"""Users who read the answer, think, and ask again."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.registry import nearest_name
from goodspeed.simulator.ranges import at_least
from goodspeed.simulator.workload.sizes import Sizes
from goodspeed.simulator.workload.workload import Ask

THINKING = ["exponential", "fixed", "lognormal"]


@dataclass(frozen=True, slots=True)
class ClosedConfig:
    """Raises ConfigError for values out of range."""

    think_s: float = option(2.0, "mean time from an answer's end to the next request; 0 = at once")
    thinking: str = option("exponential", "its distribution: exponential, fixed or lognormal")
    cv: float = option(0.6, "lognormal: standard deviation / mean")

    def __post_init__(self) -> None:
        at_least("closed.think_s", self.think_s, 0.0)
        at_least("closed.cv", self.cv, 0.0)
        if self.thinking not in THINKING:
            raise ConfigError(f"unknown closed.thinking {self.thinking!r}; {nearest_name(self.thinking, THINKING)}")


class ClosedWorkload:
    """One user per client. The first request comes within a think time, or fixed ones would all begin in step."""

    def __init__(self, config: ClosedConfig, sizes: Sizes) -> None:
        self._config = config
        self._sizes = sizes

    def asks(self, client: int, rng: np.random.Generator) -> Iterator[Ask]:  # noqa: ARG002
        return self._sizes.asks(self._gaps(rng), True, rng)

    def _gaps(self, rng: np.random.Generator) -> Iterator[float]:
        yield self._think_s(rng) * float(rng.random())
        while True:
            yield self._think_s(rng)

    def _think_s(self, rng: np.random.Generator) -> float:
        mean = self._config.think_s
        if self._config.thinking == "fixed":
            return mean
        if self._config.thinking == "exponential":
            return float(rng.exponential(mean))
        variance = math.log1p(self._config.cv**2)
        return mean * math.exp(math.sqrt(variance) * float(rng.standard_normal()) - variance / 2.0)
