"""What a student minimises, from its log-probabilities at the target's top k tokens.

Each loss is [n], one number a position. The target's mass beyond its top k, and on tokens that the student's head has
no row for, is nobody's: no loss asks for it.

Forward KL is distillation (Hinton et al. 2015), reverse KL seeks modes (Gu et al. 2024, MiniLLM); under the rejection
rule a position is accepted with one minus the total variation (Leviathan et al. 2023), which DistillSpec (Zhou et al.
2024) found a good loss for drafts.
"""

from collections.abc import Callable

import torch

from goodspeed.registry import Registry

FEW_ROWS = 128  # positions whose float32 logits are held at once: they stay in the cache
LEAST = 1e-9
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(log-probabilities [n, k] of the student, probabilities [n, k] of the target, 0 where it has no row) -> [n]."""


class TopLogprobs(torch.autograd.Function):
    """log softmax(hidden @ head.T) at a few columns, without keeping float32 logits; see top_logprobs."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, hidden: torch.Tensor, head: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        logits = hidden @ head.T
        normaliser = torch.cat([part.float().logsumexp(-1, keepdim=True) for part in logits.split(FEW_ROWS)])
        ctx.save_for_backward(hidden, head, columns, logits, normaliser)
        return logits.gather(1, columns).float() - normaliser

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        hidden, head, columns, logits, normaliser = ctx.saved_tensors  # type: ignore[attr-defined]
        total = grad.sum(1, keepdim=True)
        for start in range(0, len(logits), FEW_ROWS):  # in place: nobody reads the logits after this
            rows = slice(start, start + FEW_ROWS)
            part = (logits[rows].float() - normaliser[rows]).exp_().mul_(-total[rows])
            logits[rows] = part.scatter_add_(1, columns[rows], grad[rows])
        needs_hidden, needs_head, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        return (logits @ head if needs_hidden else None, logits.T @ hidden if needs_head else None, None)


def top_logprobs(
    hidden: torch.Tensor,  # [n, hidden]
    head: torch.Tensor,  # [rows of the head, hidden]
    places: torch.Tensor,  # [n, k] int64; -1: the head has no such row
) -> torch.Tensor:
    """[n, k] float32: the student's log-probabilities there (of row 0 where it has none). Backward works once."""
    found: torch.Tensor = TopLogprobs.apply(hidden, head, places.clamp_min(0))  # type: ignore[no-untyped-call]
    return found


def forward_kl(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy under the target: forward KL but for the target's entropy, which no student changes."""
    return -(target_probs * logprobs).sum(-1)


def reverse_kl(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """KL(student || target), what is beyond the top k being one token."""
    probs = logprobs.exp() * (target_probs > 0)
    inside = (probs * (logprobs - target_probs.clamp_min(LEAST).log())).sum(-1)
    rest, target_rest = ((1.0 - part.sum(-1)).clamp_min(LEAST) for part in (probs, target_probs))
    return inside + rest * (rest.log() - target_rest.log())


def total_variation(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """One minus the chance that the rejection rule accepts, of which the mass beyond the top k is left out."""
    return 1.0 - torch.minimum(logprobs.exp(), target_probs).sum(-1)


def likeliest(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the target's likeliest token: what a greedy target says."""
    return -(logprobs[:, 0] * (target_probs[:, 0] > 0))


LOSSES: Registry[Loss] = Registry(
    "loss",
    {
        "forward_kl": forward_kl,
        "reverse_kl": reverse_kl,
        "total_variation": total_variation,
        "likeliest": likeliest,
    },
)
