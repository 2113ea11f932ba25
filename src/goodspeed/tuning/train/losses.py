"""Distillation losses, computed from the student's log-probabilities at the target's top k tokens.

Each loss is [n], one value per position. No loss includes the target's mass beyond its top k or on tokens that the
student's head has no row for.

Forward KL is distillation (Hinton et al. 2015); reverse KL seeks modes (Gu et al. 2024, MiniLLM). Under the rejection
rule a position is accepted with one minus the total variation (Leviathan et al. 2023), which DistillSpec (Zhou et al.
2024) found to be a good loss for drafts.
"""

from collections.abc import Callable

import torch

from goodspeed.registry import Registry

CHUNK_ROWS = 128  # positions with float32 logits in memory at once: they fit into the cache
MIN_PROB = 1e-9
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(student log-probabilities [n, k], target probabilities [n, k], 0 where the head has no row) -> [n]."""


class TopLogprobs(torch.autograd.Function):
    """log softmax(hidden @ head.T) at some columns, without float32 logits in memory; see top_logprobs."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, hidden: torch.Tensor, head: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        logits = hidden @ head.T
        normaliser = torch.cat([part.float().logsumexp(-1, keepdim=True) for part in logits.split(CHUNK_ROWS)])
        ctx.save_for_backward(hidden, head, columns, logits, normaliser)
        return logits.gather(1, columns).float() - normaliser

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        hidden, head, columns, logits, normaliser = ctx.saved_tensors  # type: ignore[attr-defined]
        total = grad.sum(1, keepdim=True)
        for start in range(0, len(logits), CHUNK_ROWS):  # in place: the logits are not read again
            rows = slice(start, start + CHUNK_ROWS)
            part = (logits[rows].float() - normaliser[rows]).exp_().mul_(-total[rows])
            logits[rows] = part.scatter_add_(1, columns[rows], grad[rows])
        needs_hidden, needs_head, _ = ctx.needs_input_grad  # type: ignore[attr-defined]
        return (logits @ head if needs_hidden else None, logits.T @ hidden if needs_head else None, None)


def top_logprobs(
    hidden: torch.Tensor,  # [n, hidden]
    head: torch.Tensor,  # [rows of the head, hidden]
    top_rows: torch.Tensor,  # [n, k] int64: rows of the head; -1: none
) -> torch.Tensor:
    """[n, k] float32: the student's log-probabilities at these rows (row 0 for -1). Backward may run only once."""
    found: torch.Tensor = TopLogprobs.apply(hidden, head, top_rows.clamp_min(0))  # type: ignore[no-untyped-call]
    return found


def forward_kl(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy under the target: forward KL without the target's entropy, which is constant."""
    return -(target_probs * logprobs).sum(-1)


def reverse_kl(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """KL(student || target), with everything beyond the top k as one token."""
    probs = logprobs.exp() * (target_probs > 0)
    inside = (probs * (logprobs - target_probs.clamp_min(MIN_PROB).log())).sum(-1)
    rest, target_rest = ((1.0 - part.sum(-1)).clamp_min(MIN_PROB) for part in (probs, target_probs))
    return inside + rest * (rest.log() - target_rest.log())


def total_variation(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """One minus the acceptance rate of the rejection rule, without the mass beyond the top k."""
    return 1.0 - torch.minimum(logprobs.exp(), target_probs).sum(-1)


def likeliest(logprobs: torch.Tensor, target_probs: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the target's likeliest token, which a greedy target generates."""
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
