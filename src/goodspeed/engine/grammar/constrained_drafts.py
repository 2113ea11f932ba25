"""Drafts of constrained streams: forced tokens are free drafts, and what the grammar does not allow is cut."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.decoding.draft import Draft, DraftRequest, SparseProbs, StreamKey
from goodspeed.decoding.rules import draw, one_hot
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.grammar.matcher import Matcher

FORCED_CONFIDENCE = 1.0
"""The target has no other choice."""

DraftFrom = Callable[[Sequence[DraftRequest]], list[Draft]]


@dataclass(slots=True)
class _Stream:
    sampling: Sampling
    num_tokens: int
    """Committed tokens, prompt included."""
    unread: list[int]
    """Committed tokens that the matcher has not read yet."""
    matcher: Matcher | None = None
    """From the first draft on."""


class ConstrainedDrafts:
    """Completes the drafts of an engine that knows no grammars, for the streams that have one.

    Forced tokens are drafted without the engine, which continues after them. Of its tokens those up to the first that
    is not allowed are taken. A token that was sampled (rejection rule) is instead sampled again from the allowed part
    of its distribution: cutting it would depend on which token was drawn, and change the text's distribution.
    """

    def __init__(self, grammars: Grammars) -> None:
        self._grammars = grammars
        self._streams: dict[StreamKey, _Stream] = {}

    def open(self, stream: StreamKey, sampling: Sampling, num_tokens: int, answer: Sequence[int] = ()) -> None:
        """Start a stream after `num_tokens` committed tokens; nothing is kept of one without a constraint.

        `answer`: those of them that belong to the answer. The constraint was checked.
        """
        if sampling.constraint is not None:
            self._streams[stream] = _Stream(sampling, num_tokens, list(answer))

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the committed text. The grammar reads it when the next draft is requested."""
        if constrained := self._streams.get(stream):
            constrained.num_tokens += len(tokens)
            constrained.unread.extend(tokens)

    def close(self, stream: StreamKey) -> None:
        """End the stream."""
        self._streams.pop(stream, None)

    def draft(self, requests: Sequence[DraftRequest], draft_from: DraftFrom) -> list[Draft]:
        """As DraftEngine.draft, with an engine's own drafts by `draft_from`, which may be called several times."""
        if not self._streams:
            return draft_from(requests)
        drafts = [self._start(request) for request in requests]
        while pending := [draft for draft in drafts if not draft.is_complete]:
            drafted = draft_from([draft.next_request() for draft in pending])
            refused = [draft.extend(tokens) for draft, tokens in zip(pending, drafted, strict=True)]
            if any(refused):
                draft_from([request for request in refused if request])
        return [draft.result() for draft in drafts]

    def _start(self, request: DraftRequest) -> "_DraftInProgress":
        stream = self._streams.get(request.stream)
        if stream is None:
            return _FreeDraft(request)
        if stream.matcher is None:
            constraint = stream.sampling.constraint
            assert constraint is not None
            stream.matcher = self._grammars.matcher(constraint, self._grammars.end_tokens)
        stream.matcher.commit(stream.unread)
        stream.unread.clear()
        return _ConstrainedDraft(request, stream, stream.matcher)


class _DraftInProgress(Protocol):
    is_complete: bool

    def next_request(self) -> DraftRequest:
        """What the engine is to draft."""

    def extend(self, drafted: Draft) -> DraftRequest | None:
        """Take what is allowed of what the engine has drafted.

        Returns a request for no tokens if it is not all: the engine forgets the others, and learns nothing from them.
        """

    def result(self) -> Draft: ...


class _FreeDraft:
    """A draft of a stream without a constraint."""

    def __init__(self, request: DraftRequest) -> None:
        self.is_complete = False
        self._request = request
        self._drafted = Draft((), ())

    def next_request(self) -> DraftRequest:
        return self._request

    def extend(self, drafted: Draft) -> DraftRequest | None:
        self._drafted, self.is_complete = drafted, True
        return None

    def result(self) -> Draft:
        return self._drafted


class _ConstrainedDraft:
    """A draft of a constrained stream: forced tokens and those of the engine, in turns."""

    def __init__(self, request: DraftRequest, stream: _Stream, matcher: Matcher) -> None:
        self._request = request
        self._sampling = stream.sampling
        self._num_committed = stream.num_tokens
        self._position = stream.num_tokens + len(request.after)
        self._matcher = matcher
        self._num_read = 0  # tokens that the matcher is ahead of the committed text
        self._tokens: list[int] = []
        self._confidences: list[float] = []
        self._probs: list[SparseProbs | None] = []
        can_continue = not matcher.failure and all(map(self._read, request.after))
        if can_continue:
            self._take_forced()
        self.is_complete = not can_continue or self._room == 0

    @property
    def _room(self) -> int:
        """Tokens that may still be drafted: none after an end token."""
        if self._tokens and self._tokens[-1] in self._matcher.end_tokens:
            return 0
        return self._request.max_tokens - len(self._tokens)

    def next_request(self) -> DraftRequest:
        min_survival = self._request.min_survival / math.prod(self._confidences)
        return DraftRequest(self._request.stream, self._room, min_survival, (*self._request.after, *self._tokens))

    def extend(self, drafted: Draft) -> DraftRequest | None:
        num_before = len(self._tokens)
        for i in range(min(self._room, len(drafted.tokens))):
            if not self._take_drafted(drafted, i) or self._tokens[-1] != drafted.tokens[i]:
                break
        is_whole = tuple(self._tokens[num_before:]) == drafted.tokens
        is_resampled = self._tokens[num_before:] != list(drafted.tokens[: len(self._tokens) - num_before])
        taken = DraftRequest(self._request.stream, 0, after=(*self._request.after, *self._tokens))
        num_forced = self._take_forced()
        self.is_complete = self._room == 0 or not (num_forced or is_resampled)
        return None if is_whole else taken

    def result(self) -> Draft:
        self._matcher.rewind(self._num_read)
        probs: tuple[SparseProbs, ...] = ()
        if any(self._probs):
            probs = tuple(own or one_hot(token) for own, token in zip(self._probs, self._tokens, strict=True))
        return Draft(tuple(self._tokens), tuple(self._confidences), probs)

    def _take_forced(self) -> int:
        """Take the forced tokens, as far as there is room; returns how many."""
        num_before = len(self._tokens)
        while self._room and (forced := self._matcher.forced()):
            for token in forced[: self._room]:
                self._take(token, FORCED_CONFIDENCE, None)
        return len(self._tokens) - num_before

    def _take_drafted(self, drafted: Draft, i: int) -> bool:
        """Take token i of the engine's draft, or what is sampled in its place; False if that is not allowed."""
        token, probs = drafted.tokens[i], None
        if drafted.draft_probs:
            probs = _allowed_part(drafted.draft_probs[i], self._matcher)
            if probs is None:
                return False
            token = draw(probs, self._sampling, self._position + len(self._tokens), self._num_committed)
        forced = self._matcher.forced()
        if forced and forced[0] != token:
            return False
        return self._take(token, FORCED_CONFIDENCE if forced else drafted.confidences[i], probs)

    def _take(self, token: int, confidence: float, probs: SparseProbs | None) -> bool:
        """Append the token, if the grammar allows it."""
        if not self._matcher.is_end(token) and not self._read(token):
            return False
        self._tokens.append(token)
        self._confidences.append(confidence)
        self._probs.append(probs)
        return True

    def _read(self, token: int) -> bool:
        is_read = self._matcher.advance(token)
        self._num_read += is_read
        return is_read


def _allowed_part(probs: SparseProbs, matcher: Matcher) -> SparseProbs | None:
    """The distribution without the tokens that are not allowed; None: none of its tokens is."""
    is_allowed = matcher.allowed()[probs.token_ids]
    return SparseProbs(probs.token_ids[is_allowed], probs.weights[is_allowed]) if is_allowed.any() else None
