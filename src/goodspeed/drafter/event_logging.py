"""A core whose every fact and decision goes to the event log: a line each, enough to replay them all."""

from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.draft import Draft, StreamKey
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.decisions import Decision, DraftWork, StreamEvent, StreamFailed, TokensCommitted
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.protocol.message_json import message_to_json
from goodspeed.protocol.messages import FromVerifier, Welcome
from goodspeed.records.event_log import EventSink
from goodspeed.records.json_values import to_json_value


class LoggedDrafterCore(DrafterCore):
    """A DrafterCore for its host, with an event for each call: the fact's fields, and what was decided.

    `seed` is that of the core's own randomness. next_drafts leaves an event only when there is something to do: else
    it decides, and changes, nothing.
    """

    def __init__(self, config: DrafterCoreConfig, seed: int, events: EventSink, now: float) -> None:
        super().__init__(config, np.random.default_rng(seed))
        self._events = events
        self._now = now  # of the latest fact
        events.write("start", now, {"config": to_json_value(config), "seed": seed})

    def open(self, request: GenerationRequest, now: float) -> tuple[StreamKey, Decision]:
        key, decision = super().open(request, now)
        self._note("open", now, {"request": to_json_value(request), "stream": key}, decision)
        return key, decision

    def cancel(self, key: StreamKey, now: float) -> Decision:
        return self._note("cancel", now, {"stream": key}, super().cancel(key, now))

    def on_link_up(self, verifier: int, welcome: Welcome, now: float) -> Decision:
        fact: dict[str, object] = {"verifier": verifier, "welcome": to_json_value(welcome)}
        return self._note("link_up", now, fact, super().on_link_up(verifier, welcome, now))

    def on_link_lost(self, verifier: int, reason: str, now: float) -> Decision:
        decision = super().on_link_lost(verifier, reason, now)
        fact: dict[str, object] = {"verifier": verifier, "reason": reason, "dials": to_json_value(self.dials)}
        return self._note("link_lost", now, fact, decision)

    def on_message(self, verifier: int, message: FromVerifier, now: float) -> Decision:
        fact: dict[str, object] = {"verifier": verifier, "message": message_to_json(message)}
        return self._note("message", now, fact, super().on_message(verifier, message, now))

    def on_time(self, now: float) -> Decision:
        return self._note("time", now, {}, super().on_time(now))

    def next_drafts(self) -> DraftWork | None:
        work = super().next_drafts()
        if work is not None:
            self._events.write("drafts", self._now, {"work": work_to_plain(work)})
        return work

    def on_drafted(self, drafts: Sequence[Draft], drafting_s: float, now: float) -> Decision:
        decision = super().on_drafted(drafts, drafting_s, now)
        return self._note("drafted", now, {"drafts": to_json_value(drafts), "drafting_s": drafting_s}, decision)

    def _note(self, event: str, now: float, fact: dict[str, object], decision: Decision) -> Decision:
        self._now = now
        self._events.write(event, now, {**fact, "decision": decision_to_plain(decision)})
        return decision


def decision_to_plain(decision: Decision) -> dict[str, object]:
    """Each message and each piece of news with its kind."""
    return {
        "messages": [{"verifier": to, **message_to_json(message)} for to, message in decision.messages],
        "news": [_news_to_plain(news) for news in decision.news],
        "hang_ups": to_json_value(decision.hang_ups),
    }


def work_to_plain(work: DraftWork) -> dict[str, object]:
    """Each note with its kind."""
    notes = [{"kind": type(note).__name__, **to_json_value(note)} for note in work.notes]
    return {"notes": notes, "requests": to_json_value(work.requests)}


def _news_to_plain(news: StreamEvent) -> dict[str, object]:
    if isinstance(news, StreamFailed):
        return {
            "kind": "StreamFailed",
            "stream": news.stream,
            "error": type(news.error).__name__,
            "why": str(news.error),
        }
    assert isinstance(news, TokensCommitted)
    return {"kind": "TokensCommitted", **to_json_value(news)}
