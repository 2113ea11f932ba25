"""Generates texts with a target engine and a draft engine in one process, without servers.

An EnginePair uses the engines as a verifier and its drafters do: ragged batches of several streams, windows that change
from round to round, and prompts prefilled in chunks between rounds.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from goodspeed.decoding.draft import NO_DRAFT, Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import (
    DraftEngine,
    Prefill,
    StreamSpec,
    TargetEngine,
    Verify,
    Work,
)
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest, is_finished, truncate_at_end
from goodspeed.errors import RequestError
from goodspeed.stats.chi_square import two_sample_p_value

PREFILL_CHUNK = 64  # tokens
SAMPLED_TOKENS = 5  # length of the texts of a distribution check; the first token is that of the prefill


@dataclass(slots=True)
class PairText:
    """A generated text and the counts of its rounds."""

    tokens: tuple[int, ...] = ()
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0


@dataclass(frozen=True, slots=True)
class DraftSchedule:
    """The windows of the rounds: round r of stream k proposes up to windows[(k + r) % len(windows)] tokens."""

    windows: tuple[int, ...]
    max_streams: int
    """Maximum number of streams in a batch."""


TARGET_ONLY = DraftSchedule(windows=(0,), max_streams=1)


class EnginePair:
    """A target engine and a draft engine that generate together. No other streams may be open on them."""

    def __init__(self, target: TargetEngine, drafts: DraftEngine, keys: Iterator[StreamKey] | None = None) -> None:
        self._target = target
        self._drafts = drafts
        self._keys = keys or itertools.count()

    def generate(
        self,
        requests: Sequence[ReferenceRequest],
        schedule: DraftSchedule,
        on_text: Callable[[], object] = lambda: None,
    ) -> list[PairText]:
        """The texts of the requests, in order. Raises RequestError for a request that exceeds the target's limits."""
        streams = [self._stream(request, schedule) for request in requests]
        waiting, active = deque(streams), list[_Stream]()
        while waiting or active:
            while waiting and len(active) < schedule.max_streams and self._has_room(waiting[0], active):
                active.append(self._open(waiting.popleft()))
            self._round(active)
            for stream in [stream for stream in active if stream.is_finished]:
                active.remove(stream)
                self._close(stream)
                on_text()
        return [stream.text for stream in streams]

    def generate_baseline(
        self, requests: Sequence[ReferenceRequest], on_text: Callable[[], object] = lambda: None
    ) -> list[PairText]:
        """The texts without drafts: one stream at a time, one token per step. The draft engine is not used."""
        return EnginePair(self._target, NullDraft(), self._keys).generate(requests, TARGET_ONLY, on_text)

    def _round(self, active: Sequence["_Stream"]) -> None:
        drafting = [stream for stream in active if stream.max_draft > 0]
        drafts = self._drafts.draft([DraftRequest(stream.key, stream.max_draft) for stream in drafting])
        for stream, draft in zip(drafting, drafts, strict=True):
            stream.draft = draft
        outcomes = self._target.step([stream.next_work() for stream in active])
        for stream, outcome in zip(active, outcomes, strict=True):
            if outcome.next_token is not None:
                self._drafts.commit(stream.key, stream.commit(outcome.num_accepted, outcome.next_token))

    def _stream(self, request: ReferenceRequest, schedule: DraftSchedule) -> "_Stream":
        stream = _Stream(next(self._keys), request, schedule.windows)
        info = self._target.info
        num_tokens = len(request.prompt) + request.max_tokens
        if num_tokens > info.max_context or info.kv_tokens(stream.capacity) > info.kv_capacity:
            raise RequestError(
                f"{len(request.prompt)} prompt tokens and max_tokens {request.max_tokens} are {num_tokens} tokens; "
                f"{info.model} allows {info.max_context} per text and {info.kv_capacity} in all streams",
                "max_tokens",
            )
        return stream

    def _has_room(self, stream: "_Stream", active: Sequence["_Stream"]) -> bool:
        info = self._target.info
        return sum(info.kv_tokens(one.capacity) for one in (*active, stream)) <= info.kv_capacity

    def _open(self, stream: "_Stream") -> "_Stream":
        request = stream.request
        ends = request.end_tokens
        self._target.open(stream.key, StreamSpec(request.prompt, request.sampling, stream.capacity, end_tokens=ends))
        self._drafts.open(stream.key, request.prompt, request.sampling)
        return stream

    def _close(self, stream: "_Stream") -> None:
        self._target.close(stream.key)
        self._drafts.close(stream.key)


@dataclass(slots=True)
class _Stream:
    key: StreamKey
    request: ReferenceRequest
    windows: tuple[int, ...]
    text: PairText = field(default_factory=PairText)
    num_prefilled: int = 0
    draft: Draft = NO_DRAFT

    @property
    def capacity(self) -> int:
        return len(self.request.prompt) + self.request.max_tokens + max(self.windows)

    @property
    def is_finished(self) -> bool:
        return is_finished(self.request, self.text.tokens)

    @property
    def max_draft(self) -> int:
        """The window of this round, at most one less than the remaining tokens; 0 during the prefill."""
        if not self.text.tokens:
            return 0
        window = self.windows[(self.key + self.text.num_rounds) % len(self.windows)]
        return min(window, self.request.max_tokens - len(self.text.tokens) - 1)

    def next_work(self) -> Work:
        if self.text.tokens:
            return Verify(self.key, self.draft.tokens, self.draft.draft_probs)
        chunk = min(PREFILL_CHUNK, len(self.request.prompt) - self.num_prefilled)
        self.num_prefilled += chunk
        return Prefill(self.key, chunk)

    def commit(self, num_accepted: int, next_token: int) -> tuple[int, ...]:
        """Append the tokens of an outcome to the text and return them."""
        tokens = truncate_at_end(self.request, (*self.draft.tokens[:num_accepted], next_token))
        self.text.tokens += tokens
        self.text.num_rounds += 1
        self.text.num_proposed += len(self.draft.tokens)
        self.text.num_accepted += num_accepted
        self.draft = NO_DRAFT
        return tokens


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Index of the first token that differs, or None for equal texts; a shorter text differs at its end."""
    for i, (left, right) in enumerate(itertools.zip_longest(first, second)):
        if left != right:
            return i
    return None


def distribution_p_value(
    pair: EnginePair,
    request: ReferenceRequest,
    schedule: DraftSchedule,
    num_texts: int,
    on_text: Callable[[], object] = lambda: None,
) -> float:
    """The p-value that texts with and without drafts have the same distribution, under the rejection rule.

    A chi-square test over `num_texts` short texts each, with different seeds: the minimum p-value over several
    positions, multiplied by their number (Bonferroni).
    """
    baseline = pair.generate(_seeded(request, 0, num_texts), replace(schedule, windows=(0,)), on_text)
    speculative = pair.generate(_seeded(request, num_texts, num_texts), schedule, on_text)
    p_values = [
        two_sample_p_value(_counts(baseline, position), _counts(speculative, position))
        for position in range(1, SAMPLED_TOKENS)
    ]
    return min(1.0, len(p_values) * min(p_values))


def _seeded(request: ReferenceRequest, first_seed: int, num_texts: int) -> list[ReferenceRequest]:
    sampling = replace(request.sampling, rule=Rule.REJECTION)
    return [
        replace(request, max_tokens=SAMPLED_TOKENS, sampling=replace(sampling, seed=first_seed + i), end_tokens=())
        for i in range(num_texts)
    ]


def _counts(texts: Sequence[PairText], position: int) -> Counter[int]:
    return Counter(text.tokens[position] for text in texts)
