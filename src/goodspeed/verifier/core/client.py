"""A client: one drafter, with which the verifier shares its budget. Its estimates outlive its sessions."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from goodspeed.protocol.messages import RoundMode, Verdict
from goodspeed.scheduling.estimators.co_located import CoLocatedAcceptance
from goodspeed.scheduling.exploration import ShadowSchedule
from goodspeed.scheduling.floor_multiplier import FloorMultiplier
from goodspeed.scheduling.reliability import ReliabilityCurve
from goodspeed.scheduling.scheduler import Estimator
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.core_config import ClientConfig
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT, RoundTiming

MAX_ABSENT = 1024
"""Clients without a session that are remembered. The bound keeps ever new names from filling the memory."""

ConnId = int
"""Identifies one link; the host never reuses it."""


@dataclass(slots=True, eq=False)
class Client:
    """What the verifier knows of a drafter, and the totals of its rounds."""

    name: str
    estimator: Estimator
    conn: ConnId | None = None  # of its session
    config: ClientConfig = field(default_factory=ClientConfig)
    timing: RoundTiming = field(default_factory=RoundTiming)
    reliability: ReliabilityCurve = field(default_factory=ReliabilityCurve)
    co_located: CoLocatedAcceptance = field(default_factory=CoLocatedAcceptance)
    grant: int = 0  # over all its streams
    local_goodput: Ewma = field(default_factory=lambda: Ewma(ROUND_WEIGHT))  # committed tokens per local round
    shadow_schedule: ShadowSchedule = field(default_factory=ShadowSchedule)
    floor: FloorMultiplier = field(default_factory=FloorMultiplier)
    num_rounds: int = 0  # verdicts
    rounds_by_mode: list[int] = field(default_factory=lambda: [0] * len(RoundMode))  # without those of prompts
    num_proposed: int = 0  # draft tokens of its drafter
    num_verified: int = 0  # of these, the tokens that steps have verified
    num_accepted: int = 0  # of these, the tokens that were committed
    num_co_located: int = 0  # co-located draft tokens that were verified
    num_co_located_accepted: int = 0
    num_shadow_drafts: int = 0  # that were compared with committed tokens
    num_shadow_accepted: int = 0  # tokens of shadow drafts that were right
    num_committed: int = 0
    num_mode_changes: int = 0  # that its drafter asked for, of streams that were open
    baseline_s: float = 0.0  # sum over its finished answers with a known baseline
    elapsed_s: float = 0.0  # sum over the same answers, each from its opening to its last verdict

    def on_proposal_verified(self, num_granted: int, num_accepted: int) -> None:
        """Of `num_granted` draft tokens, a proposal had `num_accepted` right."""
        self.estimator.on_verdict(num_granted, num_accepted)

    @property
    def weight(self) -> float:
        """Its configured weight; more while it is below its own target-only baseline."""
        return self.config.weight * self.floor.factor

    def on_shadow_draft(self, num_granted: int, num_accepted: int) -> None:
        """Of `num_granted` tokens, a shadow draft had `num_accepted` right; no verification was spent on it."""
        self.estimator.on_verdict(num_granted, num_accepted)
        self.shadow_schedule.on_shadow_draft(num_accepted)
        self.num_shadow_drafts += 1
        self.num_shadow_accepted += num_accepted

    def on_proposal_answered(self, num_proposed: int, num_verified: int, num_accepted: int) -> None:
        """Count a proposal: its tokens, those that the step has verified, and those of them that are committed."""
        self.num_proposed += num_proposed
        self.num_verified += num_verified
        self.num_accepted += num_accepted

    def on_round(self, mode: RoundMode, verdict: Verdict) -> None:
        """A verdict was sent."""
        self.num_rounds += 1
        self.num_committed += verdict.num_committed
        self.num_co_located += verdict.num_co_located
        self.num_co_located_accepted += min(len(verdict.co_located_tokens), verdict.num_co_located)
        if verdict.round:  # 0: the prompt's
            self.rounds_by_mode[mode] += 1
            if mode is not RoundMode.REMOTE:
                self.local_goodput.observe(verdict.num_committed)

    def on_stream(self) -> None:
        """A stream with a new prompt starts."""
        self.estimator.on_stream()
        self.shadow_schedule.on_stream()
        self.co_located.on_stream()

    def on_co_located(self, num_requested: int, num_drafted: int, num_accepted: int) -> None:
        """The outcome of a stream's co-located draft, verified or only compared (CoLocatedAcceptance.on_draft)."""
        self.co_located.on_draft(num_requested, num_drafted, num_accepted)

    def on_answer(self, baseline_us: int | None, elapsed_us: int | None) -> None:
        """A stream is finished; both times are None if its baseline is not known."""
        if baseline_us is not None and elapsed_us is not None:
            self.baseline_s += baseline_us / 1e6
            self.elapsed_s += elapsed_us / 1e6


class ClientTable:
    """The clients by name, in the order in which they were first seen."""

    def __init__(self) -> None:
        self._clients: dict[str, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(self._clients.values())

    def get(self, name: str) -> Client | None:
        return self._clients.get(name)

    def add(self, client: Client) -> None:
        """Remember the client, and forget the oldest absent ones if there are too many."""
        self._clients[client.name] = client
        absent = [other.name for other in self._clients.values() if other.conn is None and other is not client]
        for name in absent[: max(0, len(absent) - MAX_ABSENT)]:
            del self._clients[name]
