"""The interface of a draft source: one way of guessing the next token inside a hybrid draft engine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling

EVIDENCE_BITS = 10
COARSE_SHIFT = 5


class Prefix:
    """The tokens of one stream: first the committed ones, then the drafted ones."""

    __slots__ = ("num_committed", "sampling", "stream", "tokens")

    def __init__(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self.stream = stream
        self.sampling = sampling
        self.tokens = list(tokens)
        self.num_committed = len(self.tokens)

    @property
    def drafted(self) -> list[int]:
        return self.tokens[self.num_committed :]

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

    def commit(self, tokens: Sequence[int]) -> list[int]:
        """Drop the drafted tokens and append committed ones. Returns the drafted tokens that followed them, if any."""
        following = self.drafted[len(tokens) :] if self.num_matching(tokens) == len(tokens) else []
        self.rewind(tokens)
        self.num_committed = len(self.tokens)
        return following


@dataclass(frozen=True, slots=True)
class Guess:
    """The most likely next token according to one source, and its evidence."""

    token: int
    evidence: int
    """The kind of evidence, 1 .. 2**EVIDENCE_BITS - 1; evidence >> COARSE_SHIFT is a coarser kind."""
    prior: float
    """Pr(right) for this kind of evidence before any observation, in (0, 1)."""


class DraftSource(Protocol):
    """Guesses next tokens. A guess depends on the prefix and on committed tokens only, never on random numbers."""

    def open(self, prefix: Prefix) -> None:
        """Start a stream."""

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        """A guess at the next token of each prefix, including its drafted tokens; None if the source has none."""

    def rewind(self, prefix: Prefix) -> None:
        """The drafted tokens of the prefix are about to be dropped or replaced."""

    def commit(self, prefix: Prefix) -> None:
        """The target's tokens were appended to the prefix, which has no drafted tokens now. May learn from them."""

    def close(self, prefix: Prefix) -> None:
        """End the stream."""
