"""Makes an acceptance trace of a drafter's events: which of its draft tokens were right."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goodspeed.decoding.mode import Mode
from goodspeed.errors import DataError
from goodspeed.protocol.messages import FinishReason
from goodspeed.protocol.session import num_common
from goodspeed.records.acceptance_trace import (
    RIGHT,
    STOPPED,
    UNKNOWN,
    WRONG,
    TracedAnswer,
    write_acceptance_trace,
)
from goodspeed.records.event_log import check_start, open_to_append, read_events

Fields = Mapping[str, Any]
"""Fields of an event of LoggedDrafterCore, as JSON values."""


class AcceptanceTraceWriter:
    """An EventSink that writes the acceptance trace of a drafter's events, and nothing else of them."""

    def __init__(self, client: str, path: Path) -> None:
        """Raises DataError if the file cannot be written."""
        self._file = open_to_append(path)
        self._tracer = AcceptanceTracer(client)

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:  # noqa: ARG002
        write_acceptance_trace(self._tracer.read(event, fields), self._file)

    def close(self) -> None:
        """Unfinished answers are not written."""
        self._file.close()


def traced_answers(lines: Iterable[str], client: str) -> Iterator[TracedAnswer]:
    """The acceptance trace of a drafter's event log. Raises DataError for a line that is not an event."""
    tracer = AcceptanceTracer(client)
    for number, event in read_events(lines):
        if event["event"] == "start":
            check_start(event)
        try:
            yield from tracer.read(event["event"], event)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"line {number} of the event log: {error!r}") from error


class AcceptanceTracer:
    """Reads a drafter's events in order. Answers in target-only mode are left out: they have no draft tokens.

    Committed tokens are compared with the proposal that they answer, up to the first difference. A proposal that the
    verifier cut is compared too. Under the greedy and the coupled rule a draft token is either the target's own choice
    or wrong, so the result is exact. Under the rejection rule the target may draw another token where the proposal was
    cut, which counts as a rejection.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._num_answers = 0
        self._streams: dict[int, _TracedStream] = {}

    def read(self, event: str, fields: Fields) -> list[TracedAnswer]:
        """The answers that have ended with this event."""
        if event == "start":
            self._streams.clear()
        elif event == "open" and fields["request"]["mode"] == Mode.DISTRIBUTED:
            self._streams[fields["stream"]] = _TracedStream(self._num_answers, fields["request"])
            self._num_answers += 1
        elif event == "drafts":
            self._on_requests(fields["work"]["requests"])
        ended = [self._end(fields["stream"], "CANCELLED")] if event == "cancel" else []
        if "decision" in fields:
            ended += [self._on_stream_event(stream_event) for stream_event in fields["decision"]["events"]]
            self._on_messages(fields["decision"]["messages"])
        return [answer for answer in ended if answer is not None]

    def _on_requests(self, requests: Sequence[Fields]) -> None:
        for request in requests:
            stream = self._streams.get(request["stream"])
            if stream and stream.proposal is None:  # otherwise it is drafted past the proposal, or a shadow draft
                stream.window = request["max_tokens"], request["min_survival"], len(request["after"])

    def _on_messages(self, messages: Sequence[Fields]) -> None:
        """A repeated proposal changes nothing; an Open discards the proposals before it."""
        for message in messages:
            stream = self._streams.get(message["stream"])
            if stream and message["kind"] == "Open":
                stream.proposal = stream.window = None
            elif stream and message["kind"] == "Propose":
                stream.proposal = message

    def _on_stream_event(self, event: Fields) -> TracedAnswer | None:
        if event["kind"] == "StreamFailed":
            return self._end(event["stream"], "FAILED")
        if stream := self._streams.get(event["stream"]):
            stream.commit(event["tokens"])
            if event["finish"] != FinishReason.NONE:
                return self._end(event["stream"], FinishReason(event["finish"]).name)
        return None

    def _end(self, key: int, finish: str) -> TracedAnswer | None:
        stream = self._streams.pop(key, None)
        return stream.answer(self._client, finish) if stream else None


@dataclass(slots=True)
class _TracedStream:
    """An unfinished answer."""

    number: int
    request: Fields
    proposal: Fields | None = None
    """The proposal whose verdict is awaited."""
    window: tuple[int, float, int] | None = None
    """The request to the draft engine: max_tokens, min_survival, tokens of the proposal before (a head start)."""
    outcomes: list[str] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    drafting_s: list[float] = field(default_factory=list)

    def commit(self, tokens: Sequence[int]) -> None:
        """Tokens that a verdict has committed. The verifier's own draft tokens may be among them, at any depth."""
        proposal, self.proposal = self.proposal, None
        drafted = proposal["tokens"] if proposal else ()
        num_right = num_common(drafted, tokens)
        for depth, token in enumerate(tokens):
            if proposal is None or depth > num_right:
                self._add(UNKNOWN, 0.0, depth, 0.0)
            elif depth == len(drafted):
                self._add(*self._outcome_without_draft(proposal), depth, 0.0)
            else:
                confidence = proposal["confidences"][depth] / 255
                drafting_s = proposal["drafting_us"] / 1e6 / len(drafted)
                self._add(RIGHT if token == drafted[depth] else WRONG, confidence, depth, drafting_s)
        self.window = None

    def _outcome_without_draft(self, proposal: Fields) -> tuple[str, float]:
        """Outcome and confidence of the token that follows the draft.

        A draft shorter than its window ended because survival would have fallen below the minimum.
        """
        if self.window is None:
            return UNKNOWN, 0.0
        max_tokens, min_survival, num_before = self.window
        if len(proposal["tokens"]) == num_before + max_tokens:
            return UNKNOWN, 0.0
        survival = 1.0
        for confidence in proposal["confidences"][num_before:]:
            survival *= confidence / 255
        return STOPPED, min(1.0, min_survival / survival) if survival else 1.0

    def _add(self, outcome: str, confidence: float, depth: int, drafting_s: float) -> None:
        self.outcomes.append(outcome)
        self.confidences.append(round(confidence, 4))
        self.depths.append(depth)
        self.drafting_s.append(round(drafting_s, 7))

    def answer(self, client: str, finish: str) -> TracedAnswer:
        return TracedAnswer(
            client=client,
            request=self.number,
            temperature=self.request["sampling"]["temperature"],
            num_prompt=len(self.request["tokens"]),
            finish=finish,
            draft_outcomes="".join(self.outcomes),
            confidences=tuple(self.confidences),
            depths=tuple(self.depths),
            drafting_s=tuple(self.drafting_s),
        )
