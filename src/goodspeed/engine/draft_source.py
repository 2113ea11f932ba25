"""The interface of a draft source: one way of guessing the next token inside a hybrid draft engine."""

from collections.abc import Sequence
from typing import Protocol

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling

EVIDENCE_BITS = 10
EVIDENCE_MASK = 2**EVIDENCE_BITS - 1
COARSE_SHIFT = 5
TAIL = 8  # tokens

PackedGuess = int
"""A guess at the next token: token << EVIDENCE_BITS | evidence, or 0 if the source has none.

The evidence is the kind of evidence for the token, 1 .. EVIDENCE_MASK; evidence >> COARSE_SHIFT is a coarser kind. A
guess is an integer because one is made for every draft token by every source, in a microsecond.
"""


class Prefix:
    """The tokens of one stream: first the committed ones, then the drafted ones."""

    __slots__ = ("_committed_tail", "num_committed", "sampling", "stream", "tail", "tokens")

    def __init__(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self.stream = stream
        self.sampling = sampling
        self.tokens = list(tokens)
        self.num_committed = len(self.tokens)
        self.tail = self._committed_tail = text_of(self.tokens[-TAIL:])
        """The last TAIL tokens, as text_of returns them."""

    @property
    def drafted(self) -> list[int]:
        return self.tokens[self.num_committed :]

    def append(self, token: int) -> None:
        """Append a drafted token."""
        self.tokens.append(token)
        self.tail = (self.tail + chr(token))[-TAIL:]

    def num_matching(self, tokens: Sequence[int]) -> int:
        """How many drafted tokens equal `tokens` before the first difference."""
        num_matching = 0
        for token, drafted in zip(tokens, self.drafted, strict=False):
            if token != drafted:
                break
            num_matching += 1
        return num_matching

    def rewind(self, after: Sequence[int] = ()) -> None:
        """Replace the drafted tokens by `after`."""
        self.tokens[self.num_committed :] = after
        self.tail = (self._committed_tail + text_of(after))[-TAIL:] if after else self._committed_tail

    def commit(self, tokens: Sequence[int]) -> list[int]:
        """Drop the drafted tokens and append committed ones. Returns the drafted tokens that followed them, if any."""
        drafted = self.drafted
        is_drafted = drafted[: len(tokens)] == list(tokens)
        self.rewind(tokens)
        self.num_committed = len(self.tokens)
        self._committed_tail = self.tail
        return drafted[len(tokens) :] if is_drafted else []


class StreamGuesser(Protocol):
    """A source's guesses for one stream."""

    @property
    def decisive_below(self) -> int:
        """After a guess with evidence below this the later sources are not asked; 0: they always are."""

    def guess(self) -> PackedGuess:
        """The most likely token after the stream's prefix, including its drafted tokens."""

    def commit(self) -> None:
        """The target's tokens were appended to the prefix, which has no drafted tokens now. May learn from them."""

    def close(self) -> None:
        """The stream has ended. What was not learned yet is learned now."""


class DraftSource(Protocol):
    """Guesses next tokens. A guess depends on the prefix and on committed tokens only, never on random numbers."""

    @property
    def priors(self) -> Sequence[float]:
        """Pr(right) for each kind of evidence before any observation, in (0, 1)."""

    def open(self, prefix: Prefix) -> StreamGuesser:
        """Start a stream."""


class BatchedDraftSource(Protocol):
    """A source that costs a forward pass per guess, which it makes for several streams together."""

    @property
    def priors(self) -> Sequence[float]:
        """As those of a DraftSource."""

    @property
    def num_without_memory(self) -> int:
        """How often there was no memory for a stream, for which the source then guesses nothing."""

    def open(self, prefix: Prefix) -> None:
        """Start a stream."""

    def read_later(self) -> None:
        """As ReadsLater.read_later; meanwhile it has no guess for a stream that has much left to read."""

    def catch_up(self) -> bool:
        """As ReadsLater.catch_up."""

    def guesses(self, prefixes: Sequence[Prefix]) -> list[PackedGuess]:
        """A guess at the next token of each prefix, including its drafted tokens."""

    def close(self, prefix: Prefix) -> None:
        """End the stream and free its memory."""


def text_of(tokens: Sequence[int]) -> str:
    """The tokens as a string with one character each: its slices are faster to make and to hash than tuples."""
    return "".join(map(chr, tokens))
