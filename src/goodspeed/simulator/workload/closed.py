"""A closed loop: users read the answer, think, and send the next request."""

import math
from collections.abc import Iterator

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import WorkloadRequest

THINK_DISTRIBUTIONS = ("exponential", "fixed", "lognormal")


@config_dataclass
class ClosedConfig:
    """Users that wait for an answer and think before the next request."""

    think_s: float = option(2.0, "mean time from an answer's end to the next request; 0: none", ge=0.0)
    think_distribution: str = option(
        "exponential", "distribution of the think time", choices=THINK_DISTRIBUTIONS, was=("thinking",)
    )
    cv: float = option(0.6, "lognormal: coefficient of variation (standard deviation / mean)", ge=0.0)


class ClosedWorkload:
    """One user per client. The first request comes within one think time, so that users do not start in step."""

    def __init__(self, config: ClosedConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        return self._sizes.requests(self._interarrivals_s(rng), True, rng)

    def _interarrivals_s(self, rng: np.random.Generator) -> Iterator[float]:
        yield self._think_s(rng) * float(rng.random())
        while True:
            yield self._think_s(rng)

    def _think_s(self, rng: np.random.Generator) -> float:
        mean = self._config.think_s
        if self._config.think_distribution == "fixed":
            return mean
        if self._config.think_distribution == "exponential":
            return float(rng.exponential(mean))
        variance = math.log1p(self._config.cv**2)
        return mean * math.exp(math.sqrt(variance) * float(rng.standard_normal()) - variance / 2.0)
