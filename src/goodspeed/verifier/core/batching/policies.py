"""The batching policies by name."""

from collections.abc import Callable

from goodspeed.registry import Registry
from goodspeed.verifier.core.batching.barrier import BarrierBatching
from goodspeed.verifier.core.batching.base import BatchingPolicy
from goodspeed.verifier.core.batching.deadline import DeadlineBatching

BATCHINGS: Registry[Callable[[float], BatchingPolicy]] = Registry(
    "batching policy",
    {
        "deadline": lambda _barrier_timeout_s: DeadlineBatching(),
        "barrier": BarrierBatching,
    },
)
"""Each takes the barrier's timeout in seconds."""
