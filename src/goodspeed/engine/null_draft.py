"""A draft engine that never proposes: every round brings the target's own next token, and no more."""

from collections.abc import Sequence

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling


class NullDraft:
    """Drafts nothing and keeps nothing."""

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        """Nothing to keep."""

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [Draft((), ()) for _ in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Nothing to learn."""

    def close(self, stream: StreamKey) -> None:
        """Nothing to free."""
