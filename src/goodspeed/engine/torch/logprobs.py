"""Log-probabilities on the device of the logits, as decoding.logprobs defines them."""

from collections.abc import Sequence

import torch

from goodspeed.decoding.logprobs import TopTokens


def logprobs_of(
    logits: torch.Tensor,  # [n or more, vocab]
    tokens: Sequence[int],  # n
    num_top: int,
) -> tuple[tuple[float, ...], tuple[TopTokens, ...]]:
    """As decoding.logprobs.logprobs_of."""
    rows = logits[: len(tokens)].float().log_softmax(-1)
    chosen = tuple(rows[range(len(tokens)), list(tokens)].tolist())
    if not num_top:
        return chosen, ()
    values, indices = (each.tolist() for each in rows.topk(min(num_top, rows.shape[1])))
    return chosen, tuple(TopTokens(tuple(ids), tuple(top)) for ids, top in zip(indices, values, strict=True))
