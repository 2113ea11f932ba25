"""A self-check at loading: does a row of logits keep its bits whatever shares its batch, on this machine?

The engine is built so that it does (docs/engine.md says how), but the products belong to libraries that may choose
another order of summation on another CPU. So it is tried: the model's own weights on a few tokens, and its attention
on a long context.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, pairwise

import torch

from goodspeed.engine.torch.attention import Attention
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool

NUM_TOKENS = 24
CHUNKINGS = ((1, 1, 1, 1, 3, 17), (2, 8, 9, 5))
"""The same tokens as decoding, verifications and prefill chunks."""
NUM_BESIDE = 29
LONG_CONTEXT = 1100  # beyond 512, where torch's attention begins a second round of keys
LONG_CHUNKS = (1, 9, 2, 33, 3, 5, 17)


def is_batch_invariant(decoder: Decoder) -> bool:
    """Whether every chunking, alone and beside another stream, gives the bits of the whole."""
    return _is_decoder_invariant(decoder) and _is_attention_invariant(decoder)


def numerics_fingerprint(decoder: Decoder) -> str:
    """16 hex digits of the logits' bits for fixed tokens: weights, precision and this machine's way of summing."""
    bits = _logits(decoder, (NUM_TOKENS,), 0).view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(bits).hexdigest()[:16]


def _is_decoder_invariant(decoder: Decoder) -> bool:
    whole = _logits(decoder, (NUM_TOKENS,), 0)
    return all(
        torch.equal(whole, _logits(decoder, chunks, num_beside))
        for chunks in CHUNKINGS
        for num_beside in (0, NUM_BESIDE)
    )


@torch.inference_mode()
def _logits(decoder: Decoder, chunks: Sequence[int], num_beside: int) -> torch.Tensor:
    """[NUM_TOKENS, vocab]: of fixed tokens in such chunks, each batched with `num_beside` tokens of another stream."""
    pool = KvPool(decoder.config, NUM_TOKENS + NUM_BESIDE, decoder.dtype, decoder.device)
    other, own = pool.reserve(NUM_BESIDE), pool.reserve(NUM_TOKENS)
    tokens = [(7919 * i + 11) % decoder.config.vocab_size for i in range(NUM_TOKENS + NUM_BESIDE)]
    beside = [Segment(tokens[NUM_TOKENS:][:num_beside], other, 0, 0)] if num_beside else []
    parts = [
        decoder.forward([*beside, Segment(tokens[start:stop], own, start, stop - start)], pool)
        for start, stop in _cut(chunks, NUM_TOKENS)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def _is_attention_invariant(decoder: Decoder) -> bool:
    """One layer's attention over a long context of random queries, keys and values, in many chunks and in one."""
    heads = decoder.heads
    pool = KvPool(replace(decoder.config, num_layers=1), LONG_CONTEXT, decoder.dtype, decoder.device)
    region = pool.reserve(LONG_CONTEXT)
    noise = torch.randn(LONG_CONTEXT, heads.num_parts * heads.head_dim, generator=torch.Generator().manual_seed(0))
    qkv = noise.to(decoder.device, decoder.dtype)
    pool.write(0, torch.arange(LONG_CONTEXT, device=decoder.device), qkv[:, heads.num_query_heads * heads.head_dim :])

    def attend(start: int, stop: int) -> torch.Tensor:
        beside = Segment([0], region, 0, 0)  # any other row: no batch has only one
        attention = Attention(heads, pool, [Segment(range(stop - start), region, start, 0), beside])
        return attention(0, torch.cat((qkv[start:stop], qkv[:1])))[: stop - start]

    parts = [attend(start, stop) for start, stop in _cut(LONG_CHUNKS, LONG_CONTEXT)]
    return torch.equal(torch.cat(parts), attend(0, LONG_CONTEXT))


def _cut(chunks: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    """0..length in pieces of these sizes, over and over."""
    ends = [0]
    for size in cycle(chunks):
        if ends[-1] == length:
            return pairwise(ends)
        ends.append(min(length, ends[-1] + size))
    return pairwise(ends)
