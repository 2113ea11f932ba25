"""A draft engine slowed down to the speed of an emulated device."""

import time
from collections.abc import Sequence

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine


class PacedDraft:
    """Delays the inner engine's drafts by `pace_s` per token of the longest. It sleeps: run it in its own thread."""

    def __init__(self, inner: DraftEngine, pace_s: float) -> None:
        self._inner = inner
        self._pace_s = pace_s

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self._inner.open(stream, tokens, sampling)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        drafts = self._inner.draft(requests)
        time.sleep(self._pace_s * max((len(draft.tokens) for draft in drafts), default=0))
        return drafts

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        self._inner.commit(stream, tokens)

    def close(self, stream: StreamKey) -> None:
        self._inner.close(stream)
