"""Poisson arrivals: a request is equally likely at every moment."""

from collections.abc import Iterator

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class PoissonConfig:
    """Poisson arrivals."""

    rate: float = option(0.1, "requests per second of one client", gt=0.0)


class PoissonWorkload:
    """Exponential interarrival times without a cut-off."""

    def __init__(self, config: PoissonConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        return self._sizes.requests(self._interarrivals_s(rng), False, rng)

    def _interarrivals_s(self, rng: np.random.Generator) -> Iterator[float]:
        while True:
            yield float(rng.exponential(1.0 / self._config.rate))
