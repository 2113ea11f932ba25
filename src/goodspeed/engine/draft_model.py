"""A language model as a drafter sees it: a cache per stream, and what comes next after each of several prefixes.

What the cache still holds of a prefix is found by comparing tokens. So accepted drafts need no second pass, committed
tokens that were never drafted are caught up with in the next one, and rejected ones are overwritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.draft_source import Prefix
from goodspeed.errors import CapacityError

MIN_CAPACITY = 512  # tokens
MAX_STREAM_INPUT = 512  # tokens of one stream in one pass: a long prompt is caught up with in several


@dataclass(frozen=True, slots=True)
class StreamInput:
    """New tokens of one stream on top of the first `num_kept` in its cache; what the cache has beyond is dropped."""

    stream: StreamKey
    num_kept: int
    tokens: tuple[int, ...]  # at least one


class DraftModel(Protocol):
    """A causal language model that runs several streams in one pass."""

    @property
    def vocab_size(self) -> int:
        """Columns of its logits: it drafts tokens below this."""

    @property
    def max_context(self) -> int:
        """Tokens of one stream that it can read."""

    def open(self, stream: StreamKey, capacity: int) -> None:
        """Begin a stream with an empty cache for so many tokens. Raises CapacityError."""

    def run(self, pieces: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        """[len(pieces), vocab_size]: logits of what comes after each piece's last token."""

    def close(self, stream: StreamKey) -> None:
        """Free the stream's cache."""


@dataclass(slots=True)
class _Cache:
    capacity: int
    tokens: list[int] = field(default_factory=list)
    num_certain: int = 0
    """So many are committed, and need no comparison any more."""


class DraftModelRunner:
    """Keeps a draft model's caches in step with prefixes."""

    def __init__(
        self,
        model: DraftModel,
        vocab_size: int,
        token_ids: npt.NDArray[np.int64] | None = None,  # [model.vocab_size], ascending
    ) -> None:
        """`token_ids`: the tokens that the columns of the model's logits stand for; None: column i is token i."""
        self.token_ids = token_ids
        self._model = model
        # A checkpoint may pad its vocabulary beyond the target's.
        self._num_columns = min(vocab_size, model.vocab_size)
        if token_ids is not None:
            self._num_columns = int(np.searchsorted(token_ids, vocab_size))
        self._caches: dict[StreamKey, _Cache] = {}

    def open(self, prefix: Prefix) -> None:
        """Begin a stream, and read all of its prefix but the last token."""
        if self._make_room(prefix):
            self._catch_up(prefix, len(prefix.tokens) - 1)

    def can_read(self, prefix: Prefix) -> bool:
        """False where the prefix is too long for the model, or its memory is full: then there is nothing to draft."""
        cache = self._caches.get(prefix.stream)
        if cache is None:
            return False
        return len(prefix.tokens) <= cache.capacity or self._grow(prefix)

    def rows(self, prefixes: Sequence[Prefix]) -> npt.NDArray[np.float32]:
        """[len(prefixes), columns]: logits of what comes after each prefix, its drafted tokens included."""
        for prefix in prefixes:
            self._catch_up(prefix, len(prefix.tokens) - MAX_STREAM_INPUT)
        return self._model.run([self._piece(prefix, len(prefix.tokens)) for prefix in prefixes])[:, : self._num_columns]

    def close(self, prefix: Prefix) -> None:
        """Forget the stream."""
        if self._caches.pop(prefix.stream, None):
            self._model.close(prefix.stream)

    def _grow(self, prefix: Prefix) -> bool:
        """Read it all again into a larger cache: rare, since caches at least double."""
        self.close(prefix)
        return self._make_room(prefix)

    def _make_room(self, prefix: Prefix) -> bool:
        num_tokens, limit = len(prefix.tokens), self._model.max_context
        if num_tokens > limit:
            return False
        capacity = min(max(MIN_CAPACITY, 2 * num_tokens), limit)
        try:
            self._model.open(prefix.stream, capacity)
        except CapacityError:
            return False
        self._caches[prefix.stream] = _Cache(capacity)
        return True

    def _catch_up(self, prefix: Prefix, end: int) -> None:
        while len(self._caches[prefix.stream].tokens) < end:
            held = len(self._caches[prefix.stream].tokens)
            self._model.run([self._piece(prefix, min(held + MAX_STREAM_INPUT, end))])

    def _piece(self, prefix: Prefix, end: int) -> StreamInput:
        """What the cache lacks of prefix.tokens[:end]; at least the last of them."""
        cache = self._caches[prefix.stream]
        num_kept = min(cache.num_certain, end - 1)
        for held, token in zip(cache.tokens[num_kept:], prefix.tokens[num_kept : end - 1], strict=False):
            if held != token:
                break
            num_kept += 1
        cache.tokens[num_kept:] = prefix.tokens[num_kept:end]
        cache.num_certain = min(prefix.num_committed, end - 1)
        return StreamInput(prefix.stream, num_kept, tuple(prefix.tokens[num_kept:end]))
