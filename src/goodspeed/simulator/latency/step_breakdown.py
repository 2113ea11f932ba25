"""The breakdown of a step into verifying streams and prompts.

The shape of a step does not contain the context of each stream. All streams get the mean context, and the number of
prompts is the smallest possible one. In the validation run (docs/explain/latency_models.md) exact contexts changed
results by less than 1%.
"""

from dataclasses import dataclass

from goodspeed.simulator.latency.latency_model import StepShape


@dataclass(frozen=True, slots=True)
class StepBreakdown:
    """Streams and tokens of both kinds. Contexts are KV tokens per stream, the new ones included."""

    num_verifying: int
    num_verified_tokens: int
    verify_context: float
    num_prompts: int
    num_prefill_tokens: int
    prefill_context: float

    @property
    def num_verify_pairs(self) -> float:
        """Pairs of a new token and one that it attends to, in verifying streams."""
        return self.num_verified_tokens * self.verify_context

    @property
    def num_prefill_pairs(self) -> float:
        """Pairs in prompts, where a token does not attend to later tokens of its chunk."""
        chunk = self.num_prefill_tokens / max(1, self.num_prompts)
        return self.num_prefill_tokens * (self.prefill_context - chunk / 2)


def break_down(shape: StepShape) -> StepBreakdown:
    """The breakdown of a step of at least one token."""
    num_verified = shape.num_tokens - shape.num_prefill_tokens
    num_verifying = min(shape.num_streams, num_verified)
    if shape.num_prefill_tokens:
        num_verifying = min(max(1, shape.num_streams - 1), num_verified)
    num_prompts = max(1, shape.num_streams - num_verifying) if shape.num_prefill_tokens else 0
    mean_context = shape.num_context_tokens / shape.num_streams
    chunk = shape.num_prefill_tokens / max(1, num_prompts)
    return StepBreakdown(
        num_verifying=num_verifying,
        num_verified_tokens=num_verified,
        verify_context=mean_context if num_verifying else 0.0,
        num_prompts=num_prompts,
        num_prefill_tokens=shape.num_prefill_tokens,
        prefill_context=max(chunk, mean_context) if num_prompts else 0.0,
    )
