"""The seam between the simulator and whatever knows how long a forward pass takes."""

from typing import Protocol

from msgspec import Struct


class StepShape(Struct, frozen=True, gc=False):
    """What one forward pass works on. A draft step is one of a stream and a token."""

    num_streams: int
    num_tokens: int  # new tokens in all: prompt chunks, and each proposal with the one token of the target's own
    num_prefill_tokens: int  # those of them that belong to prompts
    num_context_tokens: int  # KV tokens that attention reads, over all streams, the new ones included
    pause_s: float = 0.0  # that the device had nothing to do before; a model that was not measured so takes no notice


class LatencyModel(Protocol):
    """A model on a device."""

    def step_s(self, shape: StepShape) -> float:
        """Seconds of one forward pass, host time included; deterministic."""
