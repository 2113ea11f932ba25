"""The interface of ordering policies: which streams come first when not all fit into a step."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class OrderingCandidate(NamedTuple):
    """A stream that is ready for verification."""

    context: int  # committed tokens
    ready_since: float


class OrderingPolicy(Protocol):
    """The core calls it when a batch closes and more streams are ready than a step may hold."""

    def order(self, candidates: Sequence[OrderingCandidate]) -> Sequence[int]:
        """All indices of `candidates`, the first in order at the front; the candidates are in order of arrival."""
