"""Does speculation keep the target's text? Both engine seams, driven in one process without servers.

A Pair writes texts as a verifier and its drafters would: ragged batches of several streams, windows that change from
round to round, prompts prefilled in chunks between rounds.
"""

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
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
SAMPLED_TOKENS = 5  # length of the texts of a distribution check; the first token comes from the prefill
NO_DRAFT = Draft((), ())


@dataclass(slots=True)
class PairText:
    """A text, and how it came about."""

    tokens: tuple[int, ...] = ()
    num_rounds: int = 0
    num_proposed: int = 0
    num_accepted: int = 0


@dataclass(frozen=True, slots=True)
class DraftSchedule:
    """How speculation goes: stream k's round r proposes up to windows[(k + r) % len(windows)] tokens."""

    windows: tuple[int, ...]
    max_streams: int
    """In flight together."""


TARGET_ONLY = DraftSchedule(windows=(0,), max_streams=1)


class EnginePair:
    """A target engine and a draft engine that write together. No other streams may be open on them."""

    def __init__(self, target: TargetEngine, drafts: DraftEngine, keys: Iterator[StreamKey] | None = None) -> None:
        self._target = target
        self._drafts = drafts
        self._keys = keys or itertools.count()

    def write(
        self,
        requests: Sequence[ReferenceRequest],
        schedule: DraftSchedule,
        on_text: Callable[[], object] = lambda: None,
    ) -> list[PairText]:
        """The requests' texts, in order. Raises RequestError for a text that the target has no room for."""
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
        return [stream.written for stream in streams]

    def write_alone(
        self, requests: Sequence[ReferenceRequest], on_text: Callable[[], object] = lambda: None
    ) -> list[PairText]:
        """The texts of the target alone, one stream at a time, one token a step. The draft engine learns nothing."""
        return EnginePair(self._target, NullDraft(), self._keys).write(requests, TARGET_ONLY, on_text)

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
        if num_tokens > info.max_context or stream.capacity > info.kv_capacity:
            raise RequestError(
                f"{len(request.prompt)} prompt tokens and max_tokens {request.max_tokens} are {num_tokens} tokens; "
                f"{info.model} takes {info.max_context} a text and holds {info.kv_capacity}",
                "max_tokens",
            )
        return stream

    def _has_room(self, stream: "_Stream", active: Sequence["_Stream"]) -> bool:
        held = sum(other.capacity for other in active)
        return held + stream.capacity <= self._target.info.kv_capacity

    def _open(self, stream: "_Stream") -> "_Stream":
        request = stream.request
        self._target.open(stream.key, StreamSpec(request.prompt, request.sampling, stream.capacity))
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
    written: PairText = field(default_factory=PairText)
    num_prefilled: int = 0
    draft: Draft = NO_DRAFT

    @property
    def capacity(self) -> int:
        return len(self.request.prompt) + self.request.max_tokens + max(self.windows)

    @property
    def is_finished(self) -> bool:
        return is_finished(self.request, self.written.tokens)

    @property
    def max_draft(self) -> int:
        """This round's window, but one short of what is still wanted; 0 while the prompt is prefilled."""
        if not self.written.tokens:
            return 0
        window = self.windows[(self.key + self.written.num_rounds) % len(self.windows)]
        return min(window, self.request.max_tokens - len(self.written.tokens) - 1)

    def next_work(self) -> Work:
        if self.written.tokens:
            return Verify(self.key, self.draft.tokens, self.draft.draft_probs)
        chunk = min(PREFILL_CHUNK, len(self.request.prompt) - self.num_prefilled)
        self.num_prefilled += chunk
        return Prefill(self.key, chunk)

    def commit(self, num_accepted: int, next_token: int) -> tuple[int, ...]:
        """What an outcome adds to the text."""
        tokens = truncate_at_end(self.request, (*self.draft.tokens[:num_accepted], next_token))
        self.written.tokens += tokens
        self.written.num_rounds += 1
        self.written.num_proposed += len(self.draft.tokens)
        self.written.num_accepted += num_accepted
        self.draft = NO_DRAFT
        return tokens


def first_difference(one: Sequence[int], other: Sequence[int]) -> int | None:
    """Index of the first token that differs (an end counts as one), or None for equal texts."""
    for i, (left, right) in enumerate(itertools.zip_longest(one, other)):
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
    """Rejection rule: do tokens after the prompt have the same distribution with and without drafts?

    Chi-square over `num_texts` short texts each way, with different seeds; of several positions the least p-value,
    multiplied by their number.
    """
    alone = pair.write(_seeded(request, 0, num_texts), replace(schedule, windows=(0,)), on_text)
    speculative = pair.write(_seeded(request, num_texts, num_texts), schedule, on_text)
    p_values = [
        two_sample_p_value(_counts(alone, position), _counts(speculative, position))
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
