"""The ordering seam: who goes first when not all fit into a step."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class OrderingCandidate(NamedTuple):
    """A stream that could be verified now."""

    context: int  # its committed tokens
    since: float  # when its proposal came


class OrderingPolicy(Protocol):
    """Asked when a batch closes and more streams are ready than a step may hold."""

    def order(self, candidates: Sequence[OrderingCandidate]) -> Sequence[int]:
        """All positions of `candidates`, who goes first at the front; the candidates are in order of arrival."""
