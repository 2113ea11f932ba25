"""The workloads by name."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from goodspeed.config import config_dataclass, option, table
from goodspeed.registry import Registry
from goodspeed.simulator.workload.arrival_trace import ArrivalTraceConfig, ArrivalTraceWorkload
from goodspeed.simulator.workload.closed import ClosedConfig, ClosedWorkload
from goodspeed.simulator.workload.conversation import ConversationConfig, ConversationWorkload
from goodspeed.simulator.workload.gamma import GammaConfig, GammaWorkload
from goodspeed.simulator.workload.lengths import LengthConfig, lengths
from goodspeed.simulator.workload.on_off import OnOffConfig, OnOffWorkload
from goodspeed.simulator.workload.poisson import PoissonConfig, PoissonWorkload
from goodspeed.simulator.workload.replayed_requests import ReplayedRequestsConfig, ReplayedWorkload
from goodspeed.simulator.workload.request_sizes import RequestSizes
from goodspeed.simulator.workload.workload import Workload, WorkloadRequest


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
    conversation: ConversationConfig = table(ConversationConfig)
    poisson: PoissonConfig = table(PoissonConfig)
    gamma: GammaConfig = table(GammaConfig)
    on_off: OnOffConfig = table(OnOffConfig)
    trace: ArrivalTraceConfig = table(ArrivalTraceConfig)
    acceptance_trace: ReplayedRequestsConfig = table(ReplayedRequestsConfig, was=("recorded",))
    max_answer: int = option(
        0, "max_tokens of every request, so that a verifier does not know when the answer ends; 0: it does", ge=0
    )
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
        "conversation": lambda config, _: ConversationWorkload(config.conversation, config.sizes),
        "poisson": lambda config, _: PoissonWorkload(config.poisson, config.sizes),
        "gamma": lambda config, _: GammaWorkload(config.gamma, config.sizes),
        "on_off": lambda config, _: OnOffWorkload(config.on_off, config.sizes),
        "trace": lambda config, num_clients: ArrivalTraceWorkload(config.trace, num_clients),
        "acceptance_trace": lambda config, _: ReplayedWorkload(config.acceptance_trace),
    },
)


def workload(config: WorkloadConfig, num_clients: int) -> Workload:
    """The configured workload for clients 0 to num_clients - 1. Raises ConfigError."""
    chosen = WORKLOADS[config.arrivals](config, num_clients)
    return _WithMaxTokens(chosen, config.max_answer) if config.max_answer else chosen


class _WithMaxTokens:
    """Requests with one max_tokens, whose answers end early."""

    def __init__(self, inner: Workload, max_tokens: int) -> None:
        self._inner, self._max_tokens = inner, max_tokens

    def requests(self, client: int, rng: np.random.Generator) -> Iterator[WorkloadRequest]:
        for request in self._inner.requests(client, rng):
            num_answer = min(request.num_answer_tokens, self._max_tokens)
            yield replace(request, num_answer_tokens=num_answer, max_tokens=self._max_tokens)
