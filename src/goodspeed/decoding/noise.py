"""Counter-based random numbers: (seed, position, token) or (seed, position, purpose, round) determines each number.

The generator is Philox4x64-10 (Salmon et al. 2011) with the key (seed, position). It has no state, so a stream that is
resumed elsewhere or verified in another batch has the same noise. NumPy guarantees a stable raw stream.
"""

from enum import IntEnum

import numpy as np
import numpy.typing as npt

GUMBEL_DOMAIN = 0
UNIFORM_DOMAIN = 1
WORDS_PER_BLOCK = 4  # uint64 per counter value
TOKENS_PER_BLOCK = 2 * WORDS_PER_BLOCK  # one uint32 each
MAX_SINGLE_TOKENS = 8  # up to this number, one block per token (5 us) is faster than a row (130 us at 49,152 tokens)
MAX_UNIFORM = np.float32(1.0 - 2.0**-24)


class Purpose(IntEnum):
    """The decision that a uniform number is used for; each decision has its own number."""

    ACCEPT = 0
    """Whether the draft tokens up to this one are accepted."""
    CHOOSE = 1
    """The target's own token: recovered, bonus, or without a draft."""
    DRAFT = 2
    """The drafter's token."""


def uniform(seed: int, position: int, purpose: Purpose, num_committed: int = 0) -> float:
    """A uniform number in [0, 1), a multiple of 2**-53.

    ACCEPT and DRAFT have a new number in every round: `num_committed` is the committed length before it.
    """
    words = _philox(seed, position, UNIFORM_DOMAIN, num_committed).random_raw(WORDS_PER_BLOCK)
    return (int(words[purpose]) >> 11) * 2.0**-53


def gumbel_row(seed: int, position: int, vocab_size: int) -> npt.NDArray[np.float32]:
    """[vocab_size]: standard Gumbel noise for each token, in -2.81 .. 22.87.

    The 32 bits of a token give u = (bits + 1/2) / 2**32, and its noise is -log(-log(1 - u)). So large noise, which
    decides the argmax, comes from small u, where float32 is most precise. Rounding u changes the distribution of the
    argmax by at most vocab_size / 2**32 in total variation (1.2e-5 at 49,152 tokens), float32 arithmetic by about 1e-6.
    """
    return gumbel_of(_row_bits(seed, position, vocab_size))


def gumbel_at(
    seed: int,
    position: int,
    token_ids: npt.NDArray[np.integer],  # [n], ascending
) -> npt.NDArray[np.float32]:
    """[n]: the noise of these tokens, equal to gumbel_row(...)[token_ids]."""
    if len(token_ids) > MAX_SINGLE_TOKENS:
        return gumbel_of(_row_bits(seed, position, int(token_ids[-1]) + 1)[token_ids])
    bits = np.empty(len(token_ids), dtype=np.uint32)
    for i, token in enumerate(token_ids.tolist()):
        block = _philox(seed, position, GUMBEL_DOMAIN, token // TOKENS_PER_BLOCK).random_raw(WORDS_PER_BLOCK)
        bits[i] = _halves(block)[token % TOKENS_PER_BLOCK]
    return gumbel_of(bits)


def gumbel_of(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.float32]:
    """[n]: Gumbel noise from 32 uniform bits each; always finite."""
    noise = bits.astype(np.float32)
    noise += np.float32(0.5)
    noise *= np.float32(2.0**-32)
    np.minimum(noise, MAX_UNIFORM, out=noise)  # the largest value would round to 1, and its noise would be -inf
    np.negative(noise, out=noise)
    np.log1p(noise, out=noise)
    np.negative(noise, out=noise)
    np.log(noise, out=noise)
    return np.negative(noise, out=noise)


def _row_bits(seed: int, position: int, num_tokens: int) -> npt.NDArray[np.uint32]:
    words = _philox(seed, position, GUMBEL_DOMAIN, 0).random_raw((num_tokens + 1) // 2)
    return _halves(words)[:num_tokens]


def _halves(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint32]:
    """Split into 32-bit halves, low half first, on machines of any byte order."""
    return words.astype("<u8", copy=False).view("<u4")


def _philox(seed: int, position: int, domain: int, block: int) -> np.random.Philox:
    return np.random.Philox(counter=domain << 192 | block, key=position << 64 | seed)
