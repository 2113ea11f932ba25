"""A drafter core that writes an event log: one line per input with what the core decided, enough to replay it."""

from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.draft import Draft, StreamKey
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.engine_updates import DraftWork
from goodspeed.drafter.core.outbox import Outbox, StreamEvent, StreamFailed
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.protocol.message_json import message_to_json
from goodspeed.protocol.messages import FromVerifier, Welcome
from goodspeed.records.event_log import EventSink, write_start
from goodspeed.records.json_values import to_json_value


class LoggedDrafterCore(DrafterCore):
    """A DrafterCore that logs each call of its host: the input, and what was added to the outbox.

    `seed` is that of the core's random generator. A call of next_drafts is logged only if it returns work: otherwise it
    changes nothing.
    """

    def __init__(self, config: DrafterCoreConfig, seed: int, events: EventSink, now: float) -> None:
        super().__init__(config, np.random.default_rng(seed))
        self._events = events
        self._now = now  # of the latest input
        write_start(events, now, {"config": to_json_value(config), "seed": seed})

    def open(self, request: GenerationRequest, now: float) -> StreamKey:
        mark = self.outbox.mark()
        key = super().open(request, now)
        self._log("open", now, {"request": to_json_value(request), "stream": key}, mark)
        return key

    def cancel(self, key: StreamKey, now: float) -> None:
        mark = self.outbox.mark()
        super().cancel(key, now)
        self._log("cancel", now, {"stream": key}, mark)

    def on_link_up(self, verifier: int, welcome: Welcome, now: float) -> None:
        mark = self.outbox.mark()
        super().on_link_up(verifier, welcome, now)
        self._log("link_up", now, {"verifier": verifier, "welcome": to_json_value(welcome)}, mark)

    def on_link_lost(self, verifier: int, reason: str, now: float) -> None:
        mark = self.outbox.mark()
        super().on_link_lost(verifier, reason, now)
        dials = to_json_value(self.dials)
        self._log("link_lost", now, {"verifier": verifier, "reason": reason, "dials": dials}, mark)

    def on_message(self, verifier: int, message: FromVerifier, now: float) -> None:
        mark = self.outbox.mark()
        super().on_message(verifier, message, now)
        self._log("message", now, {"verifier": verifier, "message": message_to_json(message)}, mark)

    def on_time(self, now: float) -> None:
        mark = self.outbox.mark()
        super().on_time(now)
        self._log("time", now, {}, mark)

    def next_drafts(self) -> DraftWork | None:
        work = super().next_drafts()
        if work is not None:
            self._events.write("drafts", self._now, {"work": work_to_json(work)})
        return work

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> None:
        mark = self.outbox.mark()
        super().on_drafted(drafts, drafting_s, now)
        self._log("drafted", now, {"drafts": to_json_value(drafts), "drafting_s": drafting_s}, mark)

    def _log(self, event: str, now: float, fields: dict[str, object], mark: tuple[int, int, int]) -> None:
        self._now = now
        self._events.write(event, now, {**fields, "decision": decision_to_json(self.outbox, mark)})


def decision_to_json(outbox: Outbox, mark: tuple[int, int, int] = (0, 0, 0)) -> dict[str, object]:
    """What the outbox got after `mark`, as JSON values; each message and each stream event has its kind."""
    num_messages, num_events, num_disconnects = mark
    messages = outbox.messages[num_messages:]
    return {
        "messages": [{"verifier": verifier, **message_to_json(message)} for verifier, message in messages],
        "events": [_event_to_json(event) for event in outbox.events[num_events:]],
        "disconnects": to_json_value(outbox.disconnects[num_disconnects:]),
    }


def work_to_json(work: DraftWork) -> dict[str, object]:
    """The work as JSON values; each update has its kind."""
    updates = [{"kind": type(update).__name__, **to_json_value(update)} for update in work.updates]
    return {"updates": updates, "requests": to_json_value(work.requests)}


def _event_to_json(event: StreamEvent) -> dict[str, object]:
    if isinstance(event, StreamFailed):
        error = event.error
        return {"kind": "StreamFailed", "stream": event.stream, "error": type(error).__name__, "reason": str(error)}
    return {"kind": "TokensCommitted", **to_json_value(event)}
