"""Co-located drafts without a model: acceptance traces decide which tokens are right, each takes the same time."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.config import config_dataclass, option
from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.engine.interface import StreamSpec
from goodspeed.simulator.acceptance.acceptance_model import AcceptanceTrace
from goodspeed.simulator.draft import num_draft_steps, trace_draft


@config_dataclass
class CoLocatedCost:
    """What co-located drafting costs a verifier."""

    token_s: float = option(
        0.000003, "seconds of the engine's thread per co-located draft token, before the step that verifies it", ge=0.0
    )


@dataclass(frozen=True, slots=True)
class ExpectedStream:
    """What is known of a stream before it reaches a verifier."""

    trace: AcceptanceTrace
    num_prompt: int  # tokens


class ExpectedStreams:
    """The streams of a run that have co-located drafts, by client and the client's stream id."""

    def __init__(self) -> None:
        self._streams: dict[tuple[str, int], ExpectedStream] = {}

    def expect(self, client: str, stream: int, expected: ExpectedStream) -> None:
        """A client is about to open a stream."""
        self._streams[client, stream] = expected

    def forget(self, client: str, stream: int) -> None:
        """A client's stream has ended; it need not have been expected."""
        self._streams.pop((client, stream), None)

    def find(self, client: str, stream: int) -> ExpectedStream | None:
        return self._streams.get((client, stream))


@dataclass(slots=True)
class _DraftedStream:
    expected: ExpectedStream
    num_committed: int  # tokens, prompt included


class SimulatedCoLocatedDrafts:
    """The CoLocatedDrafts of one simulated verifier. Streams that were not expected get empty drafts."""

    def __init__(self, cost: CoLocatedCost, expected: ExpectedStreams) -> None:
        self.drafting_s = 0.0
        """Seconds of work since the start."""
        self._token_s = cost.token_s
        self._expected = expected
        self._streams: dict[StreamKey, _DraftedStream] = {}

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        if expected := self._expected.find(spec.client, spec.client_stream):
            self._streams[stream] = _DraftedStream(expected, len(spec.tokens))

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        return [self._draft(request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        if drafted := self._streams.get(stream):
            drafted.num_committed += len(tokens)

    def close(self, stream: StreamKey) -> None:
        self._streams.pop(stream, None)

    def drop_streams(self) -> None:
        """Drop all streams: the verifier has failed."""
        self._streams.clear()

    def _draft(self, request: DraftRequest) -> Draft:
        stream = self._streams.get(request.stream)
        if stream is None:
            return Draft((), ())
        expected = stream.expected
        draft = trace_draft(expected.trace, stream.num_committed - expected.num_prompt, request)
        self.drafting_s += self._token_s * num_draft_steps(expected.trace, draft, request)
        return draft
