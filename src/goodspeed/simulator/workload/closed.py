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
    start_s: float = option(0.0, "time before which no user sends a request: a step of the load", ge=0.0)


class ClosedWorkload:
    """One user per client. The first request comes within one think time of the start: users do not start in step."""

    def __init__(self, config: ClosedConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        return self._sizes.requests(think_times_s(self._config, rng), True, rng)


def think_times_s(config: ClosedConfig, rng: np.random.Generator) -> Iterator[float]:
    """Pauses before a user's requests; the first is shortened at random."""
    yield config.start_s + _think_s(config, rng) * float(rng.random())
    while True:
        yield _think_s(config, rng)


def _think_s(config: ClosedConfig, rng: np.random.Generator) -> float:
    mean = config.think_s
    if config.think_distribution == "fixed":
        return mean
    if config.think_distribution == "exponential":
        return float(rng.exponential(mean))
    variance = math.log1p(config.cv**2)
    return mean * math.exp(math.sqrt(variance) * float(rng.standard_normal()) - variance / 2.0)
