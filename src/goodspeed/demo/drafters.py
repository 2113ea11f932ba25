"""The four drafters of the demo, and the clusters that serve them."""

from dataclasses import dataclass

from goodspeed.bench.comparison import BASELINE
from goodspeed.cluster.topology import PAIRS, ClusterSpec, DrafterSpec, ServerOptions

GOODSPEED = "GoodSpeed"
EQUAL, RANDOM, FAIR = "equal split, scarce", "random split, scarce", "GoodSpeed, scarce"
SCARCE_BUDGET = 4
"""Draft tokens of a batch when the verifier is scarce: one for each client."""
SCHEDULERS = {
    GOODSPEED: "time_aware",
    EQUAL: f"fixed,budget={SCARCE_BUDGET}",
    RANDOM: f"random,budget={SCARCE_BUDGET}",
    FAIR: f"time_aware,budget={SCARCE_BUDGET}",
}
"""The clusters by the name of their arm, each with the scheduler of its verifier."""
NUM_ARMS = len(SCHEDULERS) + 1
"""With the target-only baseline, which the first cluster serves."""


@dataclass(frozen=True, slots=True)
class DemoDrafter:
    """One drafter of the demo: its draft engine, domain and link."""

    name: str
    engine: str
    domain: str
    rtt_ms: float
    toy_acceptance: float  # with the toy pair

    def spec(self, is_quick: bool) -> DrafterSpec:
        """The drafter as the cluster starts it."""
        if is_quick:
            flags = PAIRS["toy"](self.toy_acceptance).drafter
            return DrafterSpec(self.name, self.domain, flags, self.rtt_ms / 10, jitter=0.1)
        flags = ("--draft.engine", self.engine)
        return DrafterSpec(self.name, self.domain, flags, self.rtt_ms, jitter=0.1)

    def caption(self, is_quick: bool) -> str:
        """A description for the terminal."""
        engine, rtt_ms = ("toy", self.rtt_ms / 10) if is_quick else (self.engine, self.rtt_ms)
        return f"{self.name}: {self.domain} prompts, draft engine {engine}, round trip {rtt_ms:g} ms"


DRAFTERS = (
    DemoDrafter("laptop", "hybrid", "coding", rtt_ms=4.0, toy_acceptance=0.9),
    DemoDrafter("phone", "lookup", "rewriting", rtt_ms=12.0, toy_acceptance=0.5),
    DemoDrafter("router", "table", "maths", rtt_ms=2.0, toy_acceptance=0.7),
    DemoDrafter("desktop", "hybrid", "travel", rtt_ms=0.5, toy_acceptance=0.8),
)


def demo_clusters(is_quick: bool, co_located: str) -> list[ClusterSpec]:
    """One cluster for each arm with drafts. Raises ConfigError for wrong options of `co_located`."""
    servers = ServerOptions("toy" if is_quick else "smollm2", acceptance_rate=1.0)
    drafters = tuple(drafter.spec(is_quick) for drafter in DRAFTERS)
    return [
        ClusterSpec(name, servers.verifier_flags(scheduler, co_located), drafters)
        for name, scheduler in SCHEDULERS.items()
    ]


def arm_titles() -> list[str]:
    """All arms, in the order of their clusters."""
    return [BASELINE, *SCHEDULERS]
