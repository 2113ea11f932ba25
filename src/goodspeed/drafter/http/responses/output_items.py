"""The output of a response as it grows: messages and function calls, and the events that tell of them."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from goodspeed.drafter.http.response_body import Json
from goodspeed.drafter.http.token_logprob import TokenLogprob, TopLogprob
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta
from goodspeed.drafter.http.transcript import TextPiece


class OutputItem(Protocol):
    """An item of the output while it is written."""

    def item(self, status: str) -> Json:
        """The item as it is now; `status` is in_progress, completed or incomplete."""

    def started(self) -> Sequence[Json]:
        """Events after response.output_item.added."""

    def ended(self) -> Sequence[Json]:
        """Events before response.output_item.done."""


@dataclass(slots=True)
class MessageItem:
    """A message of text."""

    item_id: str = field(default_factory=lambda: f"msg_{secrets.token_hex(12)}")
    texts: list[str] = field(default_factory=list)
    logprobs: list[Json] = field(default_factory=list)

    def item(self, status: str) -> Json:
        content = [] if status == "in_progress" else [self._part()]
        return {"id": self.item_id, "type": "message", "role": "assistant", "status": status, "content": content}

    def started(self) -> Sequence[Json]:
        empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        return [self._event("content_part.added", part=empty)]

    def add(self, text: str, logprobs: Sequence[TokenLogprob]) -> Json:
        """The event of the next part of the text."""
        entries = [_logprob(entry) for entry in logprobs]
        self.texts.append(text)
        self.logprobs += entries
        return self._event("output_text.delta", delta=text, logprobs=entries)

    def ended(self) -> Sequence[Json]:
        part = self._part()
        done = self._event("output_text.done", text=part["text"], logprobs=part["logprobs"])
        return [done, self._event("content_part.done", part=part)]

    def _part(self) -> Json:
        text = "".join(self.texts)
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self.logprobs)}

    def _event(self, kind: str, **values: object) -> Json:
        return {"type": f"response.{kind}", "item_id": self.item_id, "content_index": 0, **values}


@dataclass(slots=True)
class CallItem:
    """A call of a function."""

    call_id: str
    name: str
    item_id: str = field(default_factory=lambda: f"fc_{secrets.token_hex(12)}")
    arguments: list[str] = field(default_factory=list)

    def item(self, status: str) -> Json:
        return {
            "id": self.item_id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": "".join(self.arguments),
        }

    def started(self) -> Sequence[Json]:
        return ()

    def add(self, arguments: str) -> Json:
        """The event of the next part of the arguments."""
        self.arguments.append(arguments)
        return self._event("delta", delta=arguments)

    def ended(self) -> Sequence[Json]:
        return [self._event("done", name=self.name, arguments="".join(self.arguments))]

    def _event(self, kind: str, **values: object) -> Json:
        return {"type": f"response.function_call_arguments.{kind}", "item_id": self.item_id, **values}


class Output:
    """The items of a response. Each method returns the events of what it changes, without sequence numbers."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        """Those that are complete."""
        self._open: MessageItem | CallItem | None = None
        self._logprobs: list[TokenLogprob] = []  # of tokens whose text is held back: it may be that of a call

    def add(self, piece: TextPiece) -> list[Json]:
        """The next piece, whose finish is ignored."""
        self._logprobs += piece.logprobs
        events = self._add_text(piece.text) if piece.text else []
        for call in piece.calls:
            events += self._add_call(call)
        return events

    def end(self, *, is_complete: bool) -> list[Json]:
        """The end of the answer, which may have cut the last item. An answer without any item has an empty message."""
        events = [] if self._open or self.items else self._begin(MessageItem())
        if self._logprobs and isinstance(self._open, MessageItem):  # of the end token, which has no text
            events.append(self._at(self._open.add("", self._logprobs)))
        return events + self._close("completed" if is_complete else "incomplete")

    def _add_text(self, text: str) -> list[Json]:
        events = []
        message = self._open
        if not isinstance(message, MessageItem):
            message = MessageItem()
            events = self._begin(message)
        logprobs, self._logprobs = self._logprobs, []
        return [*events, self._at(message.add(text, logprobs))]

    def _add_call(self, delta: CallDelta) -> list[Json]:
        events = []
        call = self._open
        if delta.name or not isinstance(call, CallItem):
            call = CallItem(delta.call_id, delta.name)
            events = self._begin(call)
        self._logprobs = []
        return [*events, self._at(call.add(delta.arguments))]

    def _begin(self, item: MessageItem | CallItem) -> list[Json]:
        events = self._close("completed")
        self._open = item
        added: Json = {"type": "response.output_item.added", "item": item.item("in_progress")}
        return events + [self._at(event) for event in (added, *item.started())]

    def _close(self, status: str) -> list[Json]:
        if self._open is None:
            return []
        done: Json = {"type": "response.output_item.done", "item": self._open.item(status)}
        events = [self._at(event) for event in (*self._open.ended(), done)]
        self.items.append(self._open.item(status))
        self._open = None
        return events

    def _at(self, event: Json) -> Json:
        return {**event, "output_index": len(self.items)}


def _logprob(entry: TokenLogprob) -> Json:
    return {**_scored(entry), "top_logprobs": [_scored(each) for each in entry.top]}


def _scored(entry: TokenLogprob | TopLogprob) -> Json:
    return {"token": entry.text, "logprob": entry.logprob, "bytes": list(entry.data or b"")}
