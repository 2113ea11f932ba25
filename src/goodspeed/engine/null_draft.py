"""A draft engine that never proposes, so every round commits one token of the target."""

from collections.abc import Sequence

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling


class NullDraft:
    """A DraftEngine without state whose drafts are empty."""

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        """Nothing to keep."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [Draft((), ()) for _ in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Nothing to learn."""

    def close(self, stream: StreamKey) -> None:
        """Nothing to free."""
