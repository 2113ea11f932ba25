"""The batching and ordering policies by name."""

from collections.abc import Callable

from goodspeed.registry import Registry
from goodspeed.verifier.core.batching.barrier import BarrierBatching
from goodspeed.verifier.core.batching.batching_policy import BatchingPolicy
from goodspeed.verifier.core.batching.deadline import DeadlineBatching
from goodspeed.verifier.core.batching.fifo import Fifo
from goodspeed.verifier.core.batching.length_aware import LengthAware
from goodspeed.verifier.core.batching.ordering import OrderingPolicy

BATCHINGS: Registry[Callable[[float], BatchingPolicy]] = Registry(
    "batching policy",
    {
        "deadline": lambda _barrier_timeout_s: DeadlineBatching(),
        "barrier": BarrierBatching,
    },
    group="goodspeed.batching",
)
"""Each takes the timeout of the barrier in seconds."""

ORDERINGS: Registry[Callable[[int], OrderingPolicy]] = Registry(
    "ordering policy",
    {
        "fifo": lambda _bucket_tokens: Fifo(),
        "length_aware": LengthAware,
    },
    group="goodspeed.ordering",
)
"""Each takes the width of a bucket of context lengths in tokens."""
