"""The toy model: logits that are a hash of the last tokens. It needs no weights.

For tests, self-checks and measurements of everything but the model.
"""

import hashlib
import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.noise import gumbel_row
from goodspeed.decoding.rules import choose
from goodspeed.decoding.sampling import Rule, Sampling

SPECIAL_TOKENS = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
TOY_VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)  # token b < 256 is the byte b
END_TOKEN = 257  # <|im_end|>
LETTERS = tuple(b" abcdefghijklmnopqrstuvwxyz")  # tokens with high logits in a vocabulary of bytes
CONTEXT = 4  # tokens that determine the logits


class ToyModel:
    """Logits are a function of the seed and the last four tokens. The argmax is known without computing them."""

    def __init__(self, vocab_size: int = TOY_VOCAB_SIZE, seed: int = 0) -> None:
        self.vocab_size = vocab_size
        self._seed = seed
        self._preferred = LETTERS if vocab_size >= 256 else tuple(range(vocab_size))

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[len(tokens), vocab]: row i has the logits of the token after tokens[: i + 1]."""
        return np.stack([self.row(tokens[: i + 1]) for i in range(len(tokens))])

    def row(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[vocab]: logits of the next token; the argmax has about half the probability at temperature 1."""
        state = self._state(tokens)
        row = gumbel_row(self._seed, state, self.vocab_size)
        row *= np.float32(1.5)
        np.minimum(row, np.float32(6.0), out=row)
        is_preferred = np.zeros(self.vocab_size, dtype=bool)
        is_preferred[list(self._preferred)] = True
        row[~is_preferred] -= 8.0
        row[self._top(state)] = 7.5
        return row

    def top(self, tokens: Sequence[int]) -> int:
        """The argmax of row(tokens), in a microsecond or two."""
        return self._top(self._state(tokens))

    def choice(self, tokens: Sequence[int], sampling: Sampling) -> int:
        """The target's next token under this sampling."""
        if sampling.rule is Rule.GREEDY:
            return self.top(tokens)
        return int(choose(self.row(tokens)[np.newaxis], sampling, len(tokens))[0])

    def _state(self, tokens: Sequence[int]) -> int:
        return hash64(self._seed, *tokens[-CONTEXT:])

    def _top(self, state: int) -> int:
        return self._preferred[state % len(self._preferred)]


def hash64(*values: int) -> int:
    """A 64-bit hash, uniform and independent for different values."""
    packed = struct.pack(f"<{len(values)}Q", *values)
    return int.from_bytes(hashlib.blake2b(packed, digest_size=8).digest(), "little")
