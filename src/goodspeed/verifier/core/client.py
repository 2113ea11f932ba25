"""A client: one drafter, among whom the budget is shared. Its estimates outlive its sessions."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from goodspeed.scheduling.reliability import ReliabilityCurve
from goodspeed.scheduling.scheduler import Estimator
from goodspeed.verifier.core.core_config import ClientConfig
from goodspeed.verifier.core.timing.round_timing import RoundTiming
from goodspeed.verifier.core.timing.turnaround import TurnaroundEstimate

MAX_ABSENT = 1024
"""Clients without a session that are remembered, so that ever new names fill no memory."""

ConnId = int
"""Names one link; the host never reuses it."""


@dataclass(slots=True, eq=False)
class Client:
    """What the verifier knows of a drafter, and what came of its rounds so far."""

    name: str
    estimator: Estimator
    conn: ConnId | None = None  # of its session
    config: ClientConfig = field(default_factory=ClientConfig)
    turnaround: TurnaroundEstimate = field(default_factory=TurnaroundEstimate)
    timing: RoundTiming = field(default_factory=RoundTiming)
    reliability: ReliabilityCurve = field(default_factory=ReliabilityCurve)
    grant: int = 0  # in all, over its streams
    starved_rounds: int = 0  # verdicts in a row with a grant of 0
    num_rounds: int = 0  # verdicts
    num_proposed: int = 0
    num_accepted: int = 0
    num_committed: int = 0
    target_alone_s: float = 0.0  # for its answers, each since its opening: what the target alone would have taken
    took_s: float = 0.0  # ... and what they took; of answers of which both are known

    def on_proposal_verified(self, num_granted: int, num_proposed: int, num_accepted: int) -> None:
        """`num_accepted` of `num_proposed` draft tokens were kept; as evidence they are those of `num_granted`."""
        self.estimator.on_verdict(num_granted, num_accepted)
        self.num_proposed += num_proposed
        self.num_accepted += num_accepted

    def on_answer(self, target_alone_s: float, took_s: float) -> None:
        """A stream is complete, with what the target alone would have taken and what it took; 0: not known."""
        self.target_alone_s += target_alone_s
        self.took_s += took_s


class ClientTable:
    """The clients by name, the longest known first."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    def get(self, name: str) -> Client | None:
        return self._clients.get(name)

    def add(self, client: Client) -> None:
        """Remember it, and forget one who is long absent if there are too many."""
        self._clients[client.name] = client
        absent = [other.name for other in self._clients.values() if other.conn is None and other is not client]
        for name in absent[: max(0, len(absent) - MAX_ABSENT)]:
            del self._clients[name]
