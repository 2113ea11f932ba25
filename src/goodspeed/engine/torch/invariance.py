"""A self-check at loading: does a row of logits keep its bits whatever shares its batch, on this machine?

The engine is built so that it does (docs/engine.md says how), but the products belong to libraries that may choose
another order of summation on another CPU. So it is tried, on the model's own weights, in the shapes that would tell.
"""

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import torch

from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool

NUM_TOKENS = 40
CHUNKINGS = ((1,) * NUM_TOKENS, (2,) * (NUM_TOKENS // 2), (3, 4, 5, 6, 7, 8, 7), (17, 23))
"""The same tokens one by one (decoding), as verifications, and as prefill chunks."""


def is_batch_invariant(decoder: Decoder) -> bool:
    """Whether chunks of any size, alone and beside another stream, give the logits of the whole, bit for bit."""
    whole = _logits(decoder, (NUM_TOKENS,), 0)
    return all(
        torch.equal(whole, _logits(decoder, chunks, num_beside)) for chunks in CHUNKINGS for num_beside in (0, 29)
    )


def numerics_fingerprint(decoder: Decoder) -> str:
    """16 hex digits of the logits' bits for fixed tokens: weights, precision and this machine's way of summing."""
    bits = _logits(decoder, (NUM_TOKENS,), 0).view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(bits).hexdigest()[:16]


@torch.inference_mode()
def _logits(decoder: Decoder, chunks: Sequence[int], num_beside: int) -> torch.Tensor:
    """[NUM_TOKENS, vocab]: of fixed tokens in such chunks, each batched with `num_beside` tokens of another stream."""
    pool = KvPool(decoder.config, 2 * NUM_TOKENS, decoder.dtype, decoder.device)
    other, own = pool.reserve(NUM_TOKENS), pool.reserve(NUM_TOKENS)
    tokens = [(7919 * i + 11) % decoder.config.vocab_size for i in range(NUM_TOKENS)]
    beside = [Segment(tokens[:num_beside][::-1], other, 0, 0)] if num_beside else []
    ends = [sum(chunks[:i]) for i in range(len(chunks) + 1)]
    parts = [
        decoder.forward([*beside, Segment(tokens[start:end], own, start, end - start)], pool)
        for start, end in pairwise(ends)
    ]
    return torch.cat(parts)
