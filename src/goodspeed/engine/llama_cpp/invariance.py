"""A self-check when a model is loaded: are logits bit-identical whatever else is in the batch and in the cache?

The engine is designed for it on CPUs (docs/explain/llama_cpp.md), but the kernels are llama.cpp's. The check runs a few
tokens in several divisions: with other sequences in the batch, after rollbacks, and in a cache that is nearly empty or
holds hundreds of tokens.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from goodspeed.engine.llama_cpp.forward import Forward, Rows, Segment

NUM_TOKENS = 48
"""More than 32: up to there sums in another order happen to round alike."""
CHUNKS = (29, 9, 8, 2)
ROUNDS = (3, 1, 5, 2, 4, 1, 6, 2, 3, 1, 4, 2, 5, 1, 3, 2, 3)
"""The same tokens divided into prefill chunks, and into rounds, after each of which the cache has a gap."""
NUM_OTHER_TOKENS = 29
NUM_REJECTED = 2
NUM_FILLED = 600
"""Cells in use, from 512 of which on attention to a single row is divided among the threads."""


def is_batch_invariant(forward: Forward) -> bool:
    """Whether every division of the tokens gives the same bits as one pass. No sequence may be open, and none is then.

    A context too small for the check counts as not invariant.
    """
    if forward.cells.context.size.num_cells < NUM_FILLED + 2 * (NUM_TOKENS + NUM_OTHER_TOKENS):
        return False
    whole = _logits(forward, (NUM_TOKENS,), 0)
    return (
        np.array_equal(whole, _logits(forward, ROUNDS, 0))
        and np.array_equal(whole, _logits(forward, CHUNKS, NUM_OTHER_TOKENS))
        and _is_invariant_in_full_cache(forward, whole)
    )


def thread_counts_with_same_bits(forward: Forward, counts: Sequence[int]) -> list[int]:
    """The numbers of threads that give the bits of the first one, which is set at the end. As is_batch_invariant."""
    context = forward.cells.context
    context.set_threads(counts[0])
    whole = _logits(forward, (NUM_TOKENS,), 0)
    alike = [num for num in counts if num == counts[0] or _is_equal_with_threads(forward, num, whole)]
    context.set_threads(counts[0])
    return alike


def _is_equal_with_threads(forward: Forward, threads: int, whole: Rows) -> bool:
    forward.cells.context.set_threads(threads)
    return np.array_equal(whole, _logits(forward, CHUNKS, NUM_OTHER_TOKENS)) and _is_invariant_in_full_cache(
        forward, whole
    )


def numerics_fingerprint(forward: Forward) -> str:
    """16 hex digits: a hash of the logits for fixed tokens. Depends on weights, types and the machine's rounding."""
    return hashlib.sha256(_logits(forward, (NUM_TOKENS,), 0).tobytes()).hexdigest()[:16]


def _is_invariant_in_full_cache(forward: Forward, whole: Rows) -> bool:
    """The same with copies of a sequence in the cache, which cost no computation."""
    cells = forward.cells
    first = cells.open()
    forward.run([Segment(first, 0, _tokens(forward)[:NUM_OTHER_TOKENS], 0)])
    state = cells.context.save(first)
    copies = [cells.open() for _ in range(NUM_FILLED // NUM_OTHER_TOKENS)]
    for copy in copies:
        cells.context.restore(copy, state)
        cells.append(copy, NUM_OTHER_TOKENS)
    is_equal = np.array_equal(whole, _logits(forward, ROUNDS, NUM_REJECTED))
    for sequence in [first, *copies]:
        cells.close(sequence)
    return is_equal


def _logits(forward: Forward, chunks: Sequence[int], num_other: int) -> Rows:
    """[NUM_TOKENS, vocab]: logits of fixed tokens, each chunk in a batch with `num_other` tokens of another sequence.

    In such a batch each chunk is followed by tokens that are rolled back, as those of a rejected draft.
    """
    tokens, cells = _tokens(forward), forward.cells
    own, other = cells.open(), cells.open()
    num_rejected = NUM_REJECTED if num_other else 0
    rows, start = [], 0
    for size in chunks:
        new = [*tokens[start : start + size], *tokens[:num_rejected]]
        segments = [Segment(own, start, new, len(new))]
        if num_other:
            segments.append(Segment(other, 0, tokens[NUM_TOKENS:][:num_other], 0))
        rows.append(forward.run(segments)[0][:size].copy())
        start += size
        cells.truncate(own, start)
        cells.truncate(other, 0)
    cells.close(own)
    cells.close(other)
    return np.concatenate(rows)


def _tokens(forward: Forward) -> list[int]:
    """Fixed tokens for the sequence and, after NUM_TOKENS, for another."""
    vocab_size = forward.cells.context.model.vocab_size
    return [(7919 * i + 11) % vocab_size for i in range(NUM_TOKENS + NUM_OTHER_TOKENS)]
