"""What the verifier's core decides by."""

import math
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS

SMALLEST_CHUNK = 32
"""Prompt tokens below which sharing a chunk between prompts costs more than it brings; a batch has room for these."""

LEAST = {
    "budget": 0,
    "max_proposal": 1,
    "barrier_timeout_s": 0,
    "max_batch_streams": 0,
    "lab_bucket": 1,
    "prefill_chunk": 1,
    "max_step_tokens": 1,
    "max_admitted": 1,
    "max_streams": 1,
    "max_queued": 0,
    "lease_s": 0,
    "seed": 0,
}
"""Of VerifierCoreConfig's fields."""


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """What a drafter is entitled to. Raises ConfigError for values out of range."""

    name: str = option("", "the drafter's name; empty: every drafter that no other entry names")
    weight: float = option(1.0, "its utility counts so many times")
    floor: int = option(0, "draft tokens that it may propose in every round, as far as the budget goes")
    cap: int = option(2**16, "draft tokens that it may propose in a round at most, over all its streams")

    def __post_init__(self) -> None:
        if not 0.0 < self.weight < math.inf:
            raise ConfigError(f"weight of client {self.name!r} is {self.weight}, expected more than 0")
        if not 0 <= self.floor <= self.cap:
            raise ConfigError(
                f"floor and cap of client {self.name!r} are {self.floor} and {self.cap}, expected 0 <= floor <= cap"
            )


@dataclass(frozen=True, slots=True)
class VerifierCoreConfig:
    """Raises ConfigError for unknown policies and values out of range."""

    name: str = option("verifier", "what drafters see this verifier as")
    budget: int = option(24, "draft tokens that one verification batch may hold")
    max_proposal: int = option(16, "draft tokens that one proposal may hold, whatever the grant")
    scheduler: str = option("time_aware", f"how the budget is shared: {', '.join(SCHEDULERS)}")
    estimator: str = option("adaptive_survival", f"how acceptance is estimated: {', '.join(ESTIMATORS)}")
    beta: float = option(0.1, "weight of the newest round in a client's goodput; the adaptive estimators need none")
    eta: float = option(0.05, "weight of the newest round in a client's acceptance; the adaptive estimators need none")
    batching: str = option("deadline", f"when a batch closes: {', '.join(BATCHINGS)}")
    barrier_timeout_s: float = option(1.0, "longest that the barrier waits for a drafter")
    max_batch_streams: int = option(0, "streams that one batch may verify; 0: all that are ready")
    ordering: str = option("fifo", f"who goes first when not all may: {', '.join(ORDERINGS)}")
    lab_bucket: int = option(64, "lab: context lengths within so many tokens count as alike")
    prefill_chunk: int = option(128, "prompt tokens that one batch may hold beside its proposals")
    max_step_tokens: int = option(
        2**16, "tokens that one batch may hold in all: prompts get what proposals leave of it, but 32 at least"
    )
    max_admitted: int = option(2**16, "streams of all clients that may hold memory at once, however much there is")
    max_streams: int = option(64, "streams that one session may have open or waiting")
    max_queued: int = option(1024, "streams of all clients that may wait for memory")
    lease_s: float = option(30.0, "how long a stream is kept for a drafter that does not go on with it")
    clients: tuple[ClientConfig, ...] = option((), "weights, floors and caps by drafter: [[core.clients]] tables")
    binding: str = option("late", f"who keeps what where proposals exceed the budget: {', '.join(DRAFT_SELECTIONS)}")
    time_price: float = option(
        0.25, "how much of the time that a token costs the others counts against it when tokens are bound late"
    )
    overcommit: float = option(1.0, "grants may promise so many times the budget in all")
    seed: int = option(0, "of the scheduler's randomness")

    def __post_init__(self) -> None:
        SCHEDULERS[self.scheduler]
        ESTIMATORS[self.estimator]
        BATCHINGS[self.batching]
        ORDERINGS[self.ordering]
        DRAFT_SELECTIONS[self.binding]
        for field, least in LEAST.items():
            if getattr(self, field) < least:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected {least} or more")
        for field in ("beta", "eta"):
            if not 0.0 <= getattr(self, field) <= 1.0:
                raise ConfigError(f"{field} is {getattr(self, field)}, expected 0 to 1")
        if not 0.0 <= self.time_price < math.inf:
            raise ConfigError(f"time_price is {self.time_price}, expected 0 or more")
        if not 1.0 <= self.overcommit < math.inf:
            raise ConfigError(f"overcommit is {self.overcommit}, expected 1 or more")
        names = [client.name for client in self.clients]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"client {twice!r} has several entries, expected one")

    def prefill_room(self, num_verified_tokens: int) -> int:
        """Prompt tokens that a batch may hold beside so many of proposals and of the target's own."""
        return min(self.prefill_chunk, max(SMALLEST_CHUNK, self.max_step_tokens - num_verified_tokens))

    def client(self, name: str) -> ClientConfig:
        """The drafter's own entry, else the one without a name, else equal rights."""
        entries = {entry.name: entry for entry in self.clients}
        return entries.get(name) or entries.get("") or ClientConfig()
