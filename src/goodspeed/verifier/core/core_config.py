"""The configuration of the verifier's core."""

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.scheduling.draft_selection import DRAFT_SELECTIONS
from goodspeed.scheduling.policies import ESTIMATORS, SCHEDULERS
from goodspeed.verifier.core.batching.policies import BATCHINGS, ORDERINGS

MIN_CHUNK = 32
"""Prompt tokens that a batch always holds, and the smallest share of a prompt: less costs more than it gains."""


@config_dataclass
class ClientConfig:
    """The share of the budget that a drafter is entitled to."""

    name: str = option("", "name of the drafter; empty: every drafter without an entry of its own")
    weight: float = option(1.0, "factor of the drafter's utility in the scheduler's objective", gt=0.0)
    floor: int = option(0, "draft tokens that the drafter may propose in every round, as far as the budget goes", ge=0)
    cap: int = option(2**16, "maximum of draft tokens per round over all streams of the drafter", ge=0)

    def __post_init__(self) -> None:
        if self.floor > self.cap:
            raise ConfigError(f"floor of client {self.name!r} is {self.floor}, expected at most its cap {self.cap}")


@config_dataclass
class VerifierCoreConfig:
    """The limits and policies of the verifier's core."""

    name: str = option("verifier", "name that drafters see of this verifier")
    budget: int = option(
        0,
        "draft tokens that one verification batch may hold; 0: 4 for each stream and at least 24, but not more than "
        "would double the time of its step",
        ge=0,
    )
    max_proposal: int = option(16, "draft tokens that one proposal may hold, whatever the grant", ge=1)
    co_located_tokens: int = option(
        8, "draft tokens that the verifier itself may draft for a stream and round; 0: none", ge=0, le=64
    )
    scheduler: str = option("time_aware", "policy that shares the budget among drafters", choices=SCHEDULERS)
    estimator: str = option("adaptive_survival", "how acceptance is estimated", choices=ESTIMATORS)
    beta: float = option(
        0.1, "weight of the latest round in a client's goodput; adaptive estimators ignore it", ge=0.0, le=1.0
    )
    eta: float = option(
        0.05,
        "weight of the latest round in a client's acceptance; adaptive estimators ignore it",
        ge=0.0,
        le=1.0,
    )
    batching: str = option("deadline", "policy that decides when a batch closes", choices=BATCHINGS)
    barrier_timeout_s: float = option(1.0, "longest time that barrier batching waits for a drafter", ge=0.0)
    max_batch_streams: int = option(0, "streams that one batch may verify; 0: all that are ready", ge=0)
    ordering: str = option(
        "fifo",
        "order of the ready streams when a batch cannot hold all of them",
        choices=ORDERINGS,
        was_values={"lab": "length_aware"},
    )
    length_bucket: int = option(
        64, "length_aware ordering: width of a context-length bucket, in tokens", ge=1, was=("lab_bucket",)
    )
    prefill_chunk: int = option(128, "prompt tokens that one batch may hold beside its proposals", ge=1)
    max_step_tokens: int = option(
        2**16,
        "tokens that one batch may hold in all; prompts get what the proposals leave, but at least 32 tokens",
        ge=1,
    )
    prefix_cache_tokens: int = option(
        2**30,
        "KV tokens of ended streams that are kept for streams with the same first tokens, as far as open streams leave "
        "them free; 0: none",
        ge=0,
    )
    prefix_sharing: str = option(
        "client",
        "whose streams may begin with the kept tokens: the same drafter's, or all drafters', who can then tell by the "
        "time to their first token what others have written",
        choices=("client", "all"),
    )
    growth_watermark: float = option(
        0.02,
        "the memory of streams grows with their text, and new streams are admitted if this share of the KV memory is "
        "expected to stay free; if it runs out, the least valuable stream waits until it can be continued; 0: memory "
        "for whole answers is reserved, which serves fewer streams at once",
        ge=0.0,
        le=0.9,
    )
    max_admitted: int = option(2**16, "streams of all clients that may hold KV memory at once", ge=1)
    max_streams: int = option(64, "streams that one session may have open or waiting", ge=1)
    max_queued: int = option(1024, "streams of all clients that may wait for KV memory", ge=0)
    lease_s: float = option(30.0, "how long the verifier keeps the stream of a disconnected drafter", ge=0.0)
    clients: tuple[ClientConfig, ...] = option((), "weight, floor and cap by drafter: [[core.clients]] tables")
    draft_selection: str = option(
        "value",
        "which proposed tokens a batch verifies when they exceed the budget: the most valuable, the most likely to be "
        "accepted, or the first to arrive",
        choices=DRAFT_SELECTIONS,
        was=("binding",),
        was_values={"late": "value"},
    )
    time_price: float = option(
        1.0, "share of the delay that a token causes for other streams which is charged to its value", ge=0.0
    )
    overcommit: float = option(1.0, "sum of all grants, as a multiple of the budget", ge=1.0)
    seed: int = option(0, "seed of the scheduler's random choices", ge=0)

    def __post_init__(self) -> None:
        names = [client.name for client in self.clients]
        if len(set(names)) < len(names):
            duplicate = next(name for name in names if names.count(name) > 1)
            raise ConfigError(f"client {duplicate!r} has several entries, expected one")

    def prefill_room(self, num_verified_tokens: int) -> int:
        """Prompt tokens that a batch may hold beside `num_verified_tokens` of proposals and of the target's own."""
        return min(self.prefill_chunk, max(MIN_CHUNK, self.max_step_tokens - num_verified_tokens))

    def client(self, name: str) -> ClientConfig:
        """The drafter's own entry, otherwise the one without a name, otherwise the defaults."""
        entries = {entry.name: entry for entry in self.clients}
        return entries.get(name) or entries.get("") or ClientConfig()
