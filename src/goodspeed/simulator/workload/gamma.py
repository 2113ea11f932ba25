"""Gamma arrivals: interarrival times that vary less, or more, than those of a Poisson process."""

from collections.abc import Iterator

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class GammaConfig:
    """Gamma distributed interarrival times."""

    rate: float = option(0.1, "requests per second of one client", gt=0.0)
    cv: float = option(
        2.0, "coefficient of variation of the interarrival times: 1 is Poisson, more is burstier", gt=0.0
    )


class GammaWorkload:
    """A renewal process with Gamma interarrival times, which starts as if a request had just arrived."""

    def __init__(self, config: GammaConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        return self._sizes.requests(self._interarrivals_s(rng), False, rng)

    def _interarrivals_s(self, rng: np.random.Generator) -> Iterator[float]:
        shape = self._config.cv**-2
        scale = 1.0 / (self._config.rate * shape)
        while True:
            yield float(rng.gamma(shape, scale))
