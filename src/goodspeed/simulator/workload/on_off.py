"""On-off arrivals: bursts of requests, and idle times in between."""

from collections.abc import Iterator

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import WorkloadRequest


@config_dataclass
class OnOffConfig:
    """Bursts of requests with pauses in between."""

    rate: float = option(0.1, "requests per second of one client, averaged over busy and idle times", gt=0.0)
    on_s: float = option(20.0, "mean length of a busy time", gt=0.0)
    off_s: float = option(60.0, "mean length of an idle time", gt=0.0)

    @property
    def busy_rate(self) -> float:
        """Requests per second while busy."""
        return self.rate * (self.on_s + self.off_s) / self.on_s

    @property
    def index_of_dispersion(self) -> float:
        """Variance / mean of the number of requests in a long time; 1 for Poisson (Fischer, Meier-Hellstern 1993)."""
        out, back = 1.0 / self.on_s, 1.0 / self.off_s
        return 1.0 + 2.0 * self.busy_rate * out / (out + back) ** 2


class OnOffWorkload:
    """An interrupted Poisson process, stationary from the start: some clients start idle."""

    def __init__(self, config: OnOffConfig, sizes: RequestSizes) -> None:
        self._config = config
        self._sizes = sizes

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:  # noqa: ARG002
        return self._sizes.requests(self._interarrivals_s(rng), False, rng)

    def _interarrivals_s(self, rng: np.random.Generator) -> Iterator[float]:
        config = self._config
        is_busy = rng.random() < config.on_s / (config.on_s + config.off_s)
        interarrival_s = 0.0 if is_busy else float(rng.exponential(config.off_s))
        busy_s = float(rng.exponential(config.on_s))  # the rest of the busy time: exponential times are memoryless
        while True:
            until_next = float(rng.exponential(1.0 / config.busy_rate))
            if until_next <= busy_s:
                busy_s -= until_next
                yield interarrival_s + until_next
                interarrival_s = 0.0
            else:
                interarrival_s += busy_s + float(rng.exponential(config.off_s))
                busy_s = float(rng.exponential(config.on_s))
