"""What a drafter's events say of its draft tokens: right, wrong, or nobody knows."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goodspeed.errors import ConfigError
from goodspeed.protocol.messages import FinishReason, Mode
from goodspeed.records.acceptance_trace import (
    RIGHT,
    STOPPED,
    UNKNOWN,
    WRONG,
    TracedAnswer,
    write_acceptance_trace,
)

Fields = Mapping[str, Any]
"""Of an event (drafter.recording), in plain form."""


class AcceptanceTraceWriter:
    """An EventSink that keeps of a drafter's events only what became of its draft tokens: an acceptance log."""

    def __init__(self, client: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")
        self._judge = AcceptanceTracer(client)

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:  # noqa: ARG002
        write_acceptance_trace(self._judge.read(event, fields), self._file)

    def close(self) -> None:
        """Answers that have not ended are not written."""
        self._file.close()


def traced_answers(lines: Iterable[str], client: str) -> Iterator[TracedAnswer]:
    """The same from a drafter's event log. Raises ConfigError for a line that is no event."""
    judge = AcceptanceTracer(client)
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            yield from judge.read(event["event"], event)
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ConfigError(f"line {number} of the event log: {error!r}") from error


class AcceptanceTracer:
    """Reads the events in order. Answers in fused mode leave nothing: nobody drafts for them.

    Committed tokens are compared with the proposal that they answer, up to the first difference. So a proposal that the
    verifier trimmed is judged too, where a draft token is the target's own choice or wrong (greedy, coupled); under the
    rejection rule the token after a trimmed one may be another than the draft's, which reads as a rejection.
    """

    def __init__(self, client: str) -> None:
        self._client = client
        self._num_answers = 0
        self._streams: dict[int, _Stream] = {}

    def read(self, event: str, fields: Fields) -> list[TracedAnswer]:
        """The answers that have ended with this event."""
        if event == "start":
            self._streams.clear()
        elif event == "open" and fields["request"]["mode"] != Mode.TARGET_ONLY:
            self._streams[fields["stream"]] = _Stream(self._num_answers, fields["request"])
            self._num_answers += 1
        elif event == "drafts":
            self._ask(fields["work"]["requests"])
        ended = [self._end(fields["stream"], "CANCELLED")] if event == "cancel" else []
        if "decision" in fields:
            ended += [self._hear(news) for news in fields["decision"]["news"]]
            self._propose(fields["decision"]["messages"])
        return [answer for answer in ended if answer is not None]

    def _ask(self, requests: Sequence[Fields]) -> None:
        for request in requests:
            if stream := self._streams.get(request["stream"]):
                stream.asked = request["max_tokens"], request["min_survival"]

    def _propose(self, messages: Sequence[Fields]) -> None:
        """A repeated proposal changes nothing; an Open puts an end to what was proposed before."""
        for message in messages:
            stream = self._streams.get(message["stream"])
            if stream and message["kind"] == "Open":
                stream.proposal = stream.asked = None
            elif stream and message["kind"] == "Propose":
                stream.proposal = message

    def _hear(self, news: Fields) -> TracedAnswer | None:
        if news["kind"] == "StreamFailed":
            return self._end(news["stream"], "FAILED")
        if stream := self._streams.get(news["stream"]):
            stream.commit(news["tokens"])
            if news["finish"] != FinishReason.NONE:
                return self._end(news["stream"], FinishReason(news["finish"]).name)
        return None

    def _end(self, key: int, finish: str) -> TracedAnswer | None:
        stream = self._streams.pop(key, None)
        return stream.answer(self._client, finish) if stream else None


@dataclass(slots=True)
class _Stream:
    """An answer in the making."""

    request: int
    asked_for: Fields
    proposal: Fields | None = None  # whose verdict is awaited
    asked: tuple[int, float] | None = None  # of the draft engine, for that proposal: max_tokens, min_survival
    judged: list[str] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    drafting_s: list[float] = field(default_factory=list)

    def commit(self, tokens: Sequence[int]) -> None:
        """What the verdict committed, which is at most one token more than was proposed."""
        proposal, self.proposal = self.proposal, None
        drafted = proposal["tokens"] if proposal else ()
        for depth, token in enumerate(tokens):
            if proposal is None or depth >= len(drafted):
                self._note(*self._undrafted(proposal), depth, 0.0)
                continue
            confidence = proposal["confidences"][depth] / 255
            drafting_s = proposal["drafting_us"] / 1e6 / len(drafted)
            self._note(RIGHT if token == drafted[depth] else WRONG, confidence, depth, drafting_s)
        self.asked = None

    def _undrafted(self, proposal: Fields | None) -> tuple[str, float]:
        """Was the draft shorter than it might have been, survival would have fallen below what was asked."""
        if proposal is None or self.asked is None:
            return UNKNOWN, 0.0
        max_tokens, min_survival = self.asked
        if len(proposal["tokens"]) == max_tokens:
            return UNKNOWN, 0.0
        survival = 1.0
        for confidence in proposal["confidences"]:
            survival *= confidence / 255
        return STOPPED, min(1.0, min_survival / survival) if survival else 1.0

    def _note(self, judged: str, confidence: float, depth: int, drafting_s: float) -> None:
        self.judged.append(judged)
        self.confidences.append(round(confidence, 4))
        self.depths.append(depth)
        self.drafting_s.append(round(drafting_s, 7))

    def answer(self, client: str, finish: str) -> TracedAnswer:
        request = self.asked_for
        return TracedAnswer(
            client=client,
            request=self.request,
            temperature=request["sampling"]["temperature"],
            num_prompt=len(request["tokens"]),
            finish=finish,
            draft_outcomes="".join(self.judged),
            confidences=tuple(self.confidences),
            depths=tuple(self.depths),
            drafting_s=tuple(self.drafting_s),
        )
