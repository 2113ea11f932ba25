"""Replay of a drafter's event log."""

from collections.abc import Callable, Iterable

import numpy as np

from goodspeed.decoding.draft import Draft
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.core_config import DrafterCoreConfig
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.event_logging import decision_to_json, work_to_json
from goodspeed.errors import DataError
from goodspeed.protocol.message_json import message_from_json
from goodspeed.protocol.messages import FromVerifier, Welcome
from goodspeed.records.event_log import Event
from goodspeed.records.json_values import from_json_value, to_json_value
from goodspeed.records.replay import DecisionDifference, replay_log


def replay(lines: Iterable[str]) -> DecisionDifference | None:
    """The first decision that differs, or None. Raises DataError if the log cannot be replayed."""
    return replay_log(lines, ReplayedDrafter)


class ReplayedDrafter:
    """A fresh core with the config and the seed of the log's start event."""

    def __init__(self, start: Event) -> None:
        config: DrafterCoreConfig = from_json_value(start["config"], DrafterCoreConfig)
        self._core = core = DrafterCore(config, np.random.default_rng(start["seed"]))
        self._inputs: dict[str, Callable[[Event], None]] = {
            "cancel": lambda e: core.cancel(e["stream"], e["now"]),
            "link_up": lambda e: core.on_link_up(e["verifier"], from_json_value(e["welcome"], Welcome), e["now"]),
            "link_lost": lambda e: core.on_link_lost(e["verifier"], e["reason"], e["now"]),
            "message": lambda e: core.on_message(e["verifier"], _message(e), e["now"]),
            "time": lambda e: core.on_time(e["now"]),
            "drafted": lambda e: core.on_drafted(_drafts(e), e["drafting_s"], e["now"]),
        }

    def logged_decision(self, event: Event) -> object:
        """What was decided: decision, work, stream, dials, as far as the event has them."""
        return [event.get(key) for key in ("decision", "work", "stream", "dials")]

    def replayed_decision(self, event: Event) -> list[object]:
        """What this core decides on the event's input, in the same form."""
        if event["event"] == "drafts":
            work = self._core.next_drafts()
            return [None, work and work_to_json(work), None, None]
        if event["event"] == "open":
            key = self._core.open(from_json_value(event["request"], GenerationRequest), event["now"])
            return [self._take_decision(), None, key, None]
        self._inputs[event["event"]](event)
        dials = to_json_value(self._core.dials) if event["event"] == "link_lost" else None
        return [self._take_decision(), None, event.get("stream"), dials]

    def _take_decision(self) -> dict[str, object]:
        outbox = self._core.outbox
        decision = decision_to_json(outbox)
        outbox.take_messages()
        outbox.take_events()
        outbox.take_disconnects()
        return decision


def _message(event: Event) -> FromVerifier:
    message = message_from_json(event["message"])
    if not isinstance(message, FromVerifier):
        raise DataError(f"{type(message).__name__} is no message of a verifier")
    return message


def _drafts(event: Event) -> list[Draft]:
    return [from_json_value(draft, Draft) for draft in event["drafts"]]
