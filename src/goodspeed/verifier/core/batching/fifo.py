"""First come, first served."""

from collections.abc import Sequence

from goodspeed.verifier.core.batching.ordering import OrderingCandidate


class Fifo:
    """The order of arrival."""

    def order(self, candidates: Sequence[OrderingCandidate]) -> Sequence[int]:
        return range(len(candidates))
