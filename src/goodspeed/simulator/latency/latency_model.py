"""The interface of latency models: how long a forward pass takes."""

from typing import Protocol

from msgspec import Struct


class StepShape(Struct, frozen=True, gc=False):
    """The work of one forward pass. A step of the draft model has one token per stream."""

    num_streams: int
    num_tokens: int  # all new tokens: prompt chunks, and for each proposal its draft tokens and one more
    num_prefill_tokens: int  # the new tokens that belong to prompts
    num_context_tokens: int  # KV tokens that attention reads over all streams, the new ones included
    idle_s: float = 0.0  # how long the device was idle before the step; only measured tables use it


class LatencyModel(Protocol):
    """The latency of a model on a device."""

    def step_s(self, shape: StepShape) -> float:
        """Seconds of one forward pass, host time included. Deterministic."""
