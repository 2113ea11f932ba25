"""The draft model interface, and a runner that keeps a KV cache per stream in step with the stream's prefix.

The runner compares tokens to find how much of a prefix is cached. So accepted draft tokens are not computed again,
committed tokens that were not drafted are added in the next pass, and rejected tokens are overwritten. The caches of
ended streams are kept for a while: the next turn of a conversation begins with what is in one of them.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.draft_source import Prefix
from goodspeed.errors import CapacityError

MIN_CAPACITY = 512  # tokens
MIN_KEPT_PREFIX = 16  # tokens; for fewer, a new cache is as good
MAX_STREAM_INPUT = 512  # tokens of one stream in one pass; a longer prompt takes several passes
PIECE = 64
"""Tokens that are read between drafts at a time: a draft that is requested meanwhile waits for so many. A stream of
which no more are unread is drafted for, and they are read with its first draft token."""


@dataclass(frozen=True, slots=True)
class StreamInput:
    """New tokens of one stream after the first `num_cached` in its cache; the cache beyond them is overwritten."""

    stream: StreamKey
    num_cached: int
    tokens: tuple[int, ...]  # at least one


class DraftModel(Protocol):
    """A causal language model that runs several streams in one forward pass."""

    @property
    def vocab_size(self) -> int:
        """Number of columns of the logits."""

    @property
    def max_context(self) -> int:
        """Longest stream in tokens."""

    def open(self, stream: StreamKey, capacity: int) -> None:
        """Start a stream with an empty cache for `capacity` tokens. Raises CapacityError."""

    def run(self, inputs: Sequence[StreamInput]) -> npt.NDArray[np.float32]:
        """[len(inputs), vocab_size]: logits for the token after the last token of each input."""

    def close(self, stream: StreamKey) -> None:
        """Free the stream's cache."""


@dataclass(slots=True)
class _Cache:
    key: StreamKey  # under which the model has it
    capacity: int
    tokens: list[int] = field(default_factory=list)
    num_committed: int = 0
    """Leading tokens that are known to match the prefix, because they are committed."""


class DraftModelRunner:
    """Runs a draft model on prefixes and keeps its caches in step with them."""

    def __init__(
        self,
        model: DraftModel,
        vocab_size: int,
        token_ids: npt.NDArray[np.int64] | None = None,  # [model.vocab_size], ascending
        num_kept: int = 0,
    ) -> None:
        """`token_ids`: the token of each column of the model's logits; None: column i is token i.

        `num_kept`: caches of ended streams that are kept, as far as memory is left.
        """
        self._num_kept = num_kept
        self.token_ids = token_ids
        self.num_without_memory = 0
        """How often there was no memory for the cache of a stream, for which the model then drafts nothing."""
        self._model = model
        # A checkpoint may pad its vocabulary beyond that of the target.
        self._num_columns = min(vocab_size, model.vocab_size)
        if token_ids is not None:
            self._num_columns = int(np.searchsorted(token_ids, vocab_size))
        self._reads_later = False
        self._prefixes: dict[StreamKey, Prefix] = {}
        self._caches: dict[StreamKey, _Cache] = {}
        self._kept: list[_Cache] = []  # the longest kept first
        self._keys = itertools.count(1)

    def open(self, prefix: Prefix) -> None:
        """Start a stream and compute its prefix except for the last token, and for what a kept cache has of it.

        After `read_later`, only if that is little.
        """
        self._prefixes[prefix.stream] = prefix
        is_cached = self._take_kept(prefix) or self._allocate(prefix)
        if is_cached and not (self._reads_later and self._num_unread(prefix.stream) > PIECE):
            self._catch_up(prefix, len(prefix.tokens) - 1)

    def read_later(self) -> None:
        """From now on, a text of which more than PIECE tokens are unread is read by `catch_up` only."""
        self._reads_later = True

    def catch_up(self) -> bool:
        """Read a piece of the open stream that has least left to read. False: no stream has more than PIECE unread."""
        behind = {key: num for key in self._prefixes if (num := self._num_unread(key)) > PIECE}
        if not behind:
            return False
        key = min(behind, key=behind.__getitem__)
        prefix = self._prefixes[key]
        self._model.run([self._next_input(prefix, prefix.num_committed - behind[key] + PIECE)])
        return True

    def can_read(self, prefix: Prefix) -> bool:
        """False if nothing can be drafted for the prefix.

        It is too long for the model, or the cache memory is full, or much of it is not read yet.
        """
        cache = self._caches.get(prefix.stream)
        if cache is None or not (len(prefix.tokens) <= cache.capacity or self._grow(prefix)):
            return False
        return not self._reads_later or self._num_unread(prefix.stream) <= PIECE

    def rows(self, prefixes: Sequence[Prefix]) -> npt.NDArray[np.float32]:
        """[len(prefixes), columns]: logits for the token after each prefix, including its drafted tokens."""
        for prefix in prefixes:
            self._catch_up(prefix, len(prefix.tokens) - MAX_STREAM_INPUT)
        inputs = [self._next_input(prefix, len(prefix.tokens)) for prefix in prefixes]
        return self._model.run(inputs)[:, : self._num_columns]

    def close(self, prefix: Prefix) -> None:
        """End the stream. Its cache is kept until others need the memory."""
        del self._prefixes[prefix.stream]
        if cache := self._caches.pop(prefix.stream, None):
            self._kept.append(cache)
            if len(self._kept) > self._num_kept:
                self._drop_kept()

    def _take_kept(self, prefix: Prefix) -> bool:
        """Continue with the kept cache that has most of the prefix and can hold more than it."""
        fitting = [cache for cache in self._kept if cache.capacity > len(prefix.tokens)]
        lengths = [_num_common(cache.tokens, prefix.tokens) for cache in fitting]
        longest = max(lengths, default=0)
        if longest < MIN_KEPT_PREFIX:
            return False
        cache = fitting[lengths.index(longest)]
        self._kept.remove(cache)
        del cache.tokens[longest:]
        cache.num_committed = longest
        self._caches[prefix.stream] = cache
        return True

    def _drop_kept(self) -> None:
        self._model.close(self._kept.pop(0).key)

    def _grow(self, prefix: Prefix) -> bool:
        """Replace the cache by a larger one; the prefix is computed again. Rare, since a cache at least doubles."""
        self._model.close(self._caches.pop(prefix.stream).key)
        return self._allocate(prefix)

    def _allocate(self, prefix: Prefix) -> bool:
        num_tokens, limit = len(prefix.tokens), self._model.max_context
        if num_tokens > limit:
            return False
        capacity, key = min(max(MIN_CAPACITY, 2 * num_tokens), limit), next(self._keys)
        while not self._open_in_model(key, capacity):
            if not self._kept:
                self.num_without_memory += 1
                return False
            self._drop_kept()
        self._caches[prefix.stream] = _Cache(key, capacity)
        return True

    def _open_in_model(self, key: StreamKey, capacity: int) -> bool:
        try:
            self._model.open(key, capacity)
        except CapacityError:
            return False
        return True

    def _num_unread(self, stream: StreamKey) -> int:
        """Committed tokens that are not in the stream's cache; 0 if it has none, or if they do not fit."""
        cache, num_committed = self._caches.get(stream), self._prefixes[stream].num_committed
        return num_committed - len(cache.tokens) if cache and num_committed <= cache.capacity else 0

    def _catch_up(self, prefix: Prefix, end: int) -> None:
        while len(self._caches[prefix.stream].tokens) < end:
            num_cached = len(self._caches[prefix.stream].tokens)
            self._model.run([self._next_input(prefix, min(num_cached + MAX_STREAM_INPUT, end))])

    def _next_input(self, prefix: Prefix, end: int) -> StreamInput:
        """The tokens of prefix.tokens[:end] that are not cached; at least the last of them."""
        cache = self._caches[prefix.stream]
        num_cached = min(cache.num_committed, end - 1)
        for cached, token in zip(cache.tokens[num_cached:], prefix.tokens[num_cached : end - 1], strict=False):
            if cached != token:
                break
            num_cached += 1
        cache.tokens[num_cached:] = prefix.tokens[num_cached:end]
        cache.num_committed = min(prefix.num_committed, end - 1)
        return StreamInput(cache.key, num_cached, tuple(prefix.tokens[num_cached:end]))


def _num_common(tokens: Sequence[int], others: Sequence[int]) -> int:
    """Length of the common prefix."""
    pairs = zip(tokens, others, strict=False)
    return next((i for i, (token, other) in enumerate(pairs) if token != other), min(len(tokens), len(others)))
