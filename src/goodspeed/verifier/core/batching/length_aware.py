"""Length-aware batching (LAB of DSD, arXiv 2511.21669): streams of similar context length share a batch."""

from collections.abc import Sequence

from goodspeed.verifier.core.batching.ordering import OrderingCandidate


class LengthAware:
    """The oldest stream comes first, then those of the nearest context lengths, by buckets of `bucket_tokens`.

    DSD sorts by bucket, shortest first, so that a long context waits as long as short ones keep arriving. Here the
    oldest stream is in every step, so no stream waits for more steps than there are streams before it.
    """

    def __init__(self, bucket_tokens: int) -> None:
        self._bucket_tokens = bucket_tokens

    def order(self, candidates: Sequence[OrderingCandidate]) -> Sequence[int]:
        buckets = [candidate.context // self._bucket_tokens for candidate in candidates]
        return sorted(range(len(candidates)), key=lambda i: abs(buckets[i] - buckets[0]))  # stable: then by arrival
