"""The workloads by name."""

from collections.abc import Callable

from goodspeed.config import config_dataclass, option, table
from goodspeed.registry import Registry
from goodspeed.simulator.workload.arrival_trace import ArrivalTraceConfig, ArrivalTraceWorkload
from goodspeed.simulator.workload.closed import ClosedConfig, ClosedWorkload
from goodspeed.simulator.workload.gamma import GammaConfig, GammaWorkload
from goodspeed.simulator.workload.lengths import LengthConfig, lengths
from goodspeed.simulator.workload.on_off import OnOffConfig, OnOffWorkload
from goodspeed.simulator.workload.poisson import PoissonConfig, PoissonWorkload
from goodspeed.simulator.workload.replayed_requests import ReplayedRequestsConfig, ReplayedWorkload
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import Workload


@config_dataclass
class WorkloadConfig:
    """The requests of users. Only the table of the chosen arrivals is used."""

    arrivals: str = option(
        "closed",
        "arrival process of the requests",
        choices=lambda: WORKLOADS,
        was_values={"recorded": "acceptance_trace"},
    )
    closed: ClosedConfig = table(ClosedConfig)
    poisson: PoissonConfig = table(PoissonConfig)
    gamma: GammaConfig = table(GammaConfig)
    on_off: OnOffConfig = table(OnOffConfig)
    trace: ArrivalTraceConfig = table(ArrivalTraceConfig)
    acceptance_trace: ReplayedRequestsConfig = table(ReplayedRequestsConfig, was=("recorded",))
    prompt: LengthConfig = table(LengthConfig)
    answer: LengthConfig = table(LengthConfig)

    @property
    def sizes(self) -> RequestSizes:
        """Raises ConfigError if a file of lengths cannot be read."""
        return RequestSizes(lengths(self.prompt), lengths(self.answer))


WORKLOADS: Registry[Callable[[WorkloadConfig, int], Workload]] = Registry(
    "workload",
    {
        "closed": lambda config, _: ClosedWorkload(config.closed, config.sizes),
        "poisson": lambda config, _: PoissonWorkload(config.poisson, config.sizes),
        "gamma": lambda config, _: GammaWorkload(config.gamma, config.sizes),
        "on_off": lambda config, _: OnOffWorkload(config.on_off, config.sizes),
        "trace": lambda config, num_clients: ArrivalTraceWorkload(config.trace, num_clients),
        "acceptance_trace": lambda config, _: ReplayedWorkload(config.acceptance_trace),
    },
)


def workload(config: WorkloadConfig, num_clients: int) -> Workload:
    """The configured workload for clients 0 to num_clients - 1. Raises ConfigError."""
    return WORKLOADS[config.arrivals](config, num_clients)
