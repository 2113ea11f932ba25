"""A self-check when a model is loaded: are logits bit-identical whatever else is in the batch, on this machine?

The engine is designed for batch invariance (docs/explain/engine.md), but the matrix products are those of libraries
that may choose another summation order on another CPU. The check runs the model on a few tokens, and its attention on a
long context. Layers are alike, so the first ones are enough.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, pairwise

import torch

from goodspeed.engine.torch.attention import Attention
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import BLOCK, KvPool, slots

NUM_LAYERS = 4
NUM_TOKENS = 24
CHUNKINGS = ((1, 1, 1, 1, 3, 17), (2, 8, 9, 5))
"""The same tokens split into decoding steps, verifications and prefill chunks."""
NUM_OTHER_TOKENS = 29
LONG_CONTEXT = 1100  # more than 512, where the attention of torch starts a second block of keys
LONG_CHUNKS = (1, 9, 2, 33, 3, 5, 17)


def is_batch_invariant(decoder: Decoder) -> bool:
    """Whether every chunking, with and without another stream in the batch, gives the same bits as one pass."""
    return _is_decoder_invariant(decoder.first_layers(NUM_LAYERS)) and _is_attention_invariant(decoder)


def thread_counts_with_same_bits(decoder: Decoder, counts: Sequence[int]) -> list[int]:
    """The numbers of threads that give the bits of the first one; the present number is set again at the end."""
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(counts[0])
        part = decoder.first_layers(NUM_LAYERS)
        whole = _logits(part, (NUM_TOKENS,), 0)
        return [num for num in counts if num == counts[0] or _is_equal_with_threads(part, num, whole)]
    finally:
        torch.set_num_threads(before)


def _is_equal_with_threads(decoder: Decoder, num: int, whole: torch.Tensor) -> bool:
    torch.set_num_threads(num)
    return torch.equal(whole, _logits(decoder, CHUNKINGS[-1], NUM_OTHER_TOKENS)) and _is_attention_invariant(decoder)


def numerics_fingerprint(decoder: Decoder) -> str:
    """16 hex digits: a hash of the logits for fixed tokens. Depends on weights, dtype and the machine's rounding."""
    bits = _logits(decoder, (NUM_TOKENS,), 0).view(torch.uint8).cpu().numpy().tobytes()
    return hashlib.sha256(bits).hexdigest()[:16]


def _is_decoder_invariant(decoder: Decoder) -> bool:
    whole = _logits(decoder, (NUM_TOKENS,), 0)
    return all(
        torch.equal(whole, _logits(decoder, chunks, num_other))
        for chunks in CHUNKINGS
        for num_other in (0, NUM_OTHER_TOKENS)
    )


@torch.inference_mode()
def _logits(decoder: Decoder, chunks: Sequence[int], num_other: int) -> torch.Tensor:
    """[NUM_TOKENS, vocab]: logits of fixed tokens, each chunk in a batch with `num_other` tokens of another stream."""
    pool = KvPool(decoder.config, NUM_TOKENS + NUM_OTHER_TOKENS + BLOCK, decoder.dtype, decoder.device)
    other, own = pool.reserve(NUM_OTHER_TOKENS), pool.reserve(NUM_TOKENS)
    tokens = [(7919 * i + 11) % decoder.config.vocab_size for i in range(NUM_TOKENS + NUM_OTHER_TOKENS)]
    other_segments = [Segment(tokens[NUM_TOKENS:][:num_other], other, 0, 0)] if num_other else []
    parts = [
        decoder.forward([*other_segments, Segment(tokens[start:stop], own, start, stop - start)], pool)
        for start, stop in _intervals(chunks, NUM_TOKENS)
    ]
    return torch.cat(parts)


@torch.inference_mode()
def _is_attention_invariant(decoder: Decoder) -> bool:
    """Compares one layer's attention over a long random context in many chunks with that in one pass."""
    heads = decoder.heads
    pool = KvPool(replace(decoder.config, num_layers=1), LONG_CONTEXT, decoder.dtype, decoder.device)
    table = pool.reserve(LONG_CONTEXT)
    noise = torch.randn(LONG_CONTEXT, heads.num_parts * heads.head_dim, generator=torch.Generator().manual_seed(0))
    qkv = noise.to(decoder.device, decoder.dtype)
    pool.write(
        0,
        torch.from_numpy(slots(table, range(LONG_CONTEXT))).to(decoder.device),
        qkv[:, heads.num_query_heads * heads.head_dim :],
    )

    def attend(start: int, stop: int) -> torch.Tensor:
        other = Segment([0], table, 0, 0)  # any other row, because a batch has at least MIN_ROWS
        attention = Attention(heads, pool, [Segment(range(stop - start), table, start, 0), other])
        return attention(0, torch.cat((qkv[start:stop], qkv[:1])))[: stop - start]

    parts = [attend(start, stop) for start, stop in _intervals(LONG_CHUNKS, LONG_CONTEXT)]
    return torch.equal(torch.cat(parts), attend(0, LONG_CONTEXT))


def _intervals(chunks: Sequence[int], length: int) -> Iterator[tuple[int, int]]:
    """The intervals of 0..length with these sizes, repeated."""
    ends = [0]
    for size in cycle(chunks):
        if ends[-1] == length:
            return pairwise(ends)
        ends.append(min(length, ends[-1] + size))
    return pairwise(ends)
