"""A draft engine without a model: acceptance traces decide which tokens are right, a latency model what steps take."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.draft_model import MAX_STREAM_INPUT
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.acceptance.exact import ExactTrace
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.target import RIGHT, WRONG


@dataclass(slots=True)
class _SimulatedStream:
    trace: AcceptanceTrace
    num_prompt: int
    num_committed: int = 0  # tokens, prompt included
    drafted: tuple[int, ...] = ()
    """The last draft, after the tokens that it follows."""
    num_cached: int = 0  # tokens in the KV cache, drafted ones included
    num_context: int = 0  # committed tokens and those that the draft follows
    num_steps: int = 0  # steps of the last draft

    @property
    def num_unread(self) -> int:
        """Tokens of the context that the first step reads: at least the last one."""
        return max(1, self.num_context - self.num_cached)


class SimulatedDraftEngine:
    """A DraftEngine with the timing of a neural one: a model step per token, and no token is read twice.

    `expect` must be called for a stream before `open`. All tokens after the first wrong token of a draft are wrong.
    """

    def __init__(self, latency: LatencyModel) -> None:
        self.idle_s = 0.0
        """How long the device was idle before the next step. Its host sets it; the step resets it."""
        self._latency = latency
        self._streams: dict[StreamKey, _SimulatedStream] = {}
        self._drafting_s = 0.0

    def expect(self, stream: StreamKey, trace: AcceptanceTrace, num_prompt: int) -> None:
        """Set the acceptance trace of a stream that will be opened."""
        self._streams[stream] = _SimulatedStream(trace, num_prompt)

    def take_drafting_s(self) -> float:
        """Seconds of work since the last call."""
        taken, self._drafting_s = self._drafting_s, 0.0
        return taken

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        """Read the prefix except its last token, in chunks of MAX_STREAM_INPUT tokens."""
        del sampling
        state, num_read = self._streams[stream], len(tokens) - 1
        state.num_committed, state.num_cached = len(tokens), num_read
        for start in range(0, num_read, MAX_STREAM_INPUT):
            num_tokens = min(MAX_STREAM_INPUT, num_read - start)
            self._drafting_s += self._latency.step_s(self._shape(1, num_tokens, num_tokens, start + num_tokens))

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        drafts = [_draft(self._streams[request.stream], request) for request in requests]
        streams = [stream for request in requests if (stream := self._streams[request.stream]).num_steps]
        if not streams:
            return drafts
        self._drafting_s += self._single_s(streams[0]) if len(streams) == 1 else self._batch_s(streams)
        for stream in streams:
            stream.num_cached = stream.num_context + stream.num_steps - 1
        return drafts

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Drafted tokens in the KV cache are not read again."""
        state = self._streams[stream]
        num_right = _num_equal(state.drafted, tokens)
        if num_right < len(tokens):
            state.drafted = ()
            state.num_cached = min(state.num_cached, state.num_committed + num_right)
        else:
            state.drafted = state.drafted[num_right:]
        state.num_committed += len(tokens)

    def close(self, stream: StreamKey) -> None:
        self._streams.pop(stream, None)

    def _single_s(self, stream: _SimulatedStream) -> float:
        """One stream: the first step reads what is not cached; the others take the time of their mean context."""
        num_context, num_more = stream.num_context, stream.num_steps - 1
        first_s = self._latency.step_s(self._shape(1, stream.num_unread, 0, num_context))
        if not num_more:
            return first_s
        return first_s + num_more * self._latency.step_s(StepShape(1, 1, 0, num_context + (num_more + 1) // 2))

    def _batch_s(self, streams: Sequence[_SimulatedStream]) -> float:
        """Several streams: step by step, over those that still draft."""
        drafting_s = 0.0
        num_unread = sum(stream.num_unread for stream in streams)
        for step in range(max(stream.num_steps for stream in streams)):
            active = [stream for stream in streams if step < stream.num_steps]
            num_tokens = len(active) if step else num_unread
            num_context = sum(stream.num_context + step for stream in active)
            drafting_s += self._latency.step_s(self._shape(len(active), num_tokens, 0, num_context))
        return drafting_s

    def _shape(self, num_streams: int, num_tokens: int, num_prefill_tokens: int, num_context_tokens: int) -> StepShape:
        """The shape of a step; the first one after an idle time carries it."""
        idle_s, self.idle_s = self.idle_s, 0.0
        return StepShape(num_streams, num_tokens, num_prefill_tokens, num_context_tokens, idle_s)


def trace_draft(trace: AcceptanceTrace, position: int, request: DraftRequest) -> Draft:
    """Draft up to max_tokens after `position` tokens of the answer.

    A trace knows nothing of what follows a wrong token. The drafter does not know that the token is wrong, so it
    continues with that token's confidence (docs/measurements/prediction.md). With exact confidences it does know, and
    ends before the token.
    """
    knows = isinstance(trace, ExactTrace)
    tokens: list[int] = []
    confidences: list[float] = []
    survival, token, confidence = 1.0, RIGHT, 1.0
    if WRONG in request.after:
        token, depth = WRONG, request.after.index(WRONG)
        confidence = trace.confidence(position + depth, depth)
    for depth in range(len(request.after), len(request.after) + request.max_tokens):
        if token == RIGHT:
            confidence = trace.confidence(position + depth, depth)
        survival *= confidence
        if survival < request.min_survival or (knows and not survival):
            break
        if token == RIGHT and not trace.is_right(position + depth, depth):
            token = WRONG
        tokens.append(token)
        confidences.append(confidence)
    return Draft(tuple(tokens), tuple(confidences))


def num_draft_steps(trace: AcceptanceTrace, draft: Draft, request: DraftRequest) -> int:
    """Steps of a draft of n tokens: n + 1 if it is not as long as requested.

    The last one yields the token whose survival is too low. With exact confidences it is known without a step.
    """
    num_tokens = len(draft.tokens)
    return num_tokens if isinstance(trace, ExactTrace) else min(num_tokens + 1, request.max_tokens)


def _draft(stream: _SimulatedStream, request: DraftRequest) -> Draft:
    _rewind(stream, request.after)
    draft = trace_draft(stream.trace, stream.num_committed - stream.num_prompt, request)
    stream.num_steps = num_draft_steps(stream.trace, draft, request)
    stream.drafted = (*request.after, *draft.tokens)
    return draft


def _rewind(stream: _SimulatedStream, after: tuple[int, ...]) -> None:
    """Go on after these tokens; of what was drafted, those that equal them stay cached."""
    stream.num_context = stream.num_committed + len(after)
    stream.num_cached = min(stream.num_cached, stream.num_committed + _num_equal(stream.drafted, after))


def _num_equal(drafted: Sequence[int], tokens: Sequence[int]) -> int:
    """How many of both are equal before the first difference."""
    num_equal = 0
    for token, other in zip(drafted, tokens, strict=False):
        if token != other:
            break
        num_equal += 1
    return num_equal
