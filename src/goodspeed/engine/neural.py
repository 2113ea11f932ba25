"""A language model as a drafter sees it: a cache per stream, and what comes next after each of several prefixes.

What the cache still holds of a prefix is found by comparing tokens. So accepted drafts need no second pass, committed
tokens that were never drafted are caught up with in the next one, and rejected ones are overwritten.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.rules import draft_choice
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.source import COARSE_SHIFT, Guess, Prefix
from goodspeed.errors import CapacityError

MIN_CAPACITY = 512  # tokens
MAX_STREAM_INPUT = 512  # tokens of one stream in one pass: a long prompt is caught up with in several
NUM_TOP_PROB_BUCKETS = 16


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


class NeuralSource:
    """A draft model as a source of the hybrid: its guess is a function of the prefix, under every rule."""

    def __init__(self, reader: DraftModelRunner) -> None:
        self._reader = reader

    def open(self, prefix: Prefix) -> None:
        self._reader.open(prefix)

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        readable = [prefix for prefix in prefixes if self._reader.can_read(prefix)]
        rows = iter(self._reader.rows(readable)) if readable else iter(())
        token_ids = self._reader.token_ids
        return [_guess(next(rows), prefix, token_ids) if prefix in readable else None for prefix in prefixes]

    def rewind(self, prefix: Prefix) -> None:
        """Nothing to do: the reader compares."""

    def commit(self, prefix: Prefix) -> None:
        """Nothing to do: the next pass catches up."""

    def close(self, prefix: Prefix) -> None:
        self._reader.close(prefix)


def _guess(row: npt.NDArray[np.float32], prefix: Prefix, token_ids: npt.NDArray[np.int64] | None) -> Guess:
    sampling = prefix.sampling
    share = top_prob(row, sampling)
    # Under the rejection rule the likeliest: a draw would need its probabilities on the wire.
    choosing = Sampling() if sampling.rule is Rule.REJECTION else sampling
    token = draft_choice(row, choosing, len(prefix.tokens), token_ids)
    kind = top_prob_bucket(share)
    return Guess(token, (1 + kind // 4) << COARSE_SHIFT | kind % 4, min(max(share, 0.02), 0.98))


def top_prob(
    row: npt.NDArray[np.float32],  # [vocab] logits
    sampling: Sampling,
) -> float:
    """The draft model's probability of its likeliest token, after temperature, top-k and top-p if there is one."""
    if sampling.temperature > 0.0:
        return float(distribution(row, sampling).probs().max())
    return 1.0 / float(np.exp(row - row.max()).sum())


def top_prob_bucket(share: float) -> int:
    """0 .. NUM_SHARES - 1: steps of half a halving of doubt, since what matters is how near to 1 it is."""
    doubt = max(1.0 - share, 2.0**-8)
    return min(NUM_TOP_PROB_BUCKETS - 1, int(-2.0 * np.log2(doubt)))
