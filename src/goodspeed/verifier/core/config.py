"""What the verifier's core decides by."""

from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.verifier.core.batching.policies import BATCHINGS


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """Raises ConfigError for unknown policies and values out of range."""

    name: str = option("verifier", "what drafters see this verifier as")
    budget: int = option(24, "draft tokens that one verification batch may hold")
    max_proposal: int = option(16, "draft tokens that one proposal may hold, whatever the grant")
    scheduler: str = option("gradient", f"how the budget is shared: {', '.join(SCHEDULERS)}")
    estimator: str = option("censored", f"how acceptance is estimated: {', '.join(ESTIMATORS)}")
    beta: float = option(0.1, "weight of the newest round in a client's goodput")
    eta: float = option(0.05, "weight of the newest round in a client's acceptance rate")
    batching: str = option("deadline", f"when a batch closes: {', '.join(BATCHINGS)}")
    barrier_timeout_s: float = option(1.0, "longest that the barrier waits for a drafter")
    prefill_chunk: int = option(128, "prompt tokens that one batch may hold beside its proposals")
    max_streams: int = option(64, "streams that one session may have open or waiting")
    max_queued: int = option(1024, "streams of all clients that may wait for memory")
    lease_s: float = option(30.0, "how long a stream is kept for a drafter that does not go on with it")
    seed: int = option(0, "of the scheduler's randomness")

    def __post_init__(self) -> None:
        for registry, name in ((SCHEDULERS, self.scheduler), (ESTIMATORS, self.estimator), (BATCHINGS, self.batching)):
            registry[name]
        for field, least in (("budget", 0), ("max_proposal", 1), ("prefill_chunk", 1), ("max_streams", 1), ("seed", 0)):
            if getattr(self, field) < least:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected {least} or more")
        for field in ("beta", "eta"):
            if not 0.0 <= getattr(self, field) <= 1.0:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected 0 to 1")
        for field in ("barrier_timeout_s", "lease_s", "max_queued"):
            if getattr(self, field) < 0:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected 0 or more")
