"""The seam inside a draft engine: where a guess at the next token can come from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling

EVIDENCE_BITS = 10
COARSE_SHIFT = 5


class Prefix:
    """One stream's tokens as its sources see them: what is committed, then what has been drafted on top."""

    __slots__ = ("num_committed", "sampling", "stream", "tokens")

    def __init__(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self.stream = stream
        self.sampling = sampling
        self.tokens = list(tokens)
        self.num_committed = len(self.tokens)

    def rewind(self) -> None:
        """Drop what was drafted."""
        del self.tokens[self.num_committed :]

    def commit(self, tokens: Sequence[int]) -> None:
        """Drop what was drafted and extend what is committed."""
        self.rewind()
        self.tokens.extend(tokens)
        self.num_committed = len(self.tokens)


@dataclass(frozen=True, slots=True)
class Guess:
    """What one source holds for the likeliest next token, and how good its evidence is."""

    token: int
    evidence: int
    """Names the kind of evidence, 1 .. 2**EVIDENCE_BITS - 1; evidence >> COARSE_SHIFT names a coarser kind."""
    prior: float
    """Pr(right) that such evidence deserves before anything was observed; in (0, 1)."""


class DraftSource(Protocol):
    """Guesses next tokens. A guess is a function of the prefix and of what was committed before, never of luck."""

    def open(self, prefix: Prefix) -> None:
        """Begin a stream."""

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        """For each prefix, with the tokens drafted so far, the next token; None where the source knows nothing."""

    def rewind(self, prefix: Prefix) -> None:
        """What was drafted on top of the committed prefix is about to be dropped."""

    def commit(self, prefix: Prefix) -> None:
        """The prefix was just extended by the target's own tokens; nothing is drafted on top. May learn from them."""

    def close(self, prefix: Prefix) -> None:
        """Forget the stream."""
