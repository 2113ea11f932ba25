"""First come, first served."""

from collections.abc import Sequence

from goodspeed.verifier.core.batching.ordering import Candidate


class Fifo:
    """The order of arrival."""

    def order(self, candidates: Sequence[Candidate]) -> Sequence[int]:
        return range(len(candidates))
