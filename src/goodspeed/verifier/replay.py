"""Replay: a recorded event log is told to a fresh core, which must decide the same."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from goodspeed.config import from_mapping
from goodspeed.engine.base import Outcome, TargetInfo
from goodspeed.errors import ConfigError, ErrorCode, ProtocolError
from goodspeed.protocol.plain import from_plain, message_from_plain, replies_to_plain
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.config import CoreConfig
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.intake import Reply
from goodspeed.verifier.recording import batch_to_plain

Event = Mapping[str, Any]
"""A line of the log, parsed."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The first decision that came out otherwise."""

    line: int  # of the log, from 1
    recorded: object
    replayed: object


def replay(lines: Iterable[str]) -> Difference | None:
    """The first difference between the log's decisions and those of a fresh core told the same facts, or None.

    A log may hold several runs; each begins with its start event. Raises ConfigError for a line that is no event.
    """
    core: _Replayed | None = None
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
            if event["event"] == "start":
                core = _Replayed(event)
                continue
            assert core is not None, "the log does not begin with a start event"
            recorded = event.get("batch", event.get("replies"))
            replayed = core.decide(event)
        except (ValueError, KeyError, AssertionError) as error:
            raise ConfigError(f"line {number} of the event log: {error!r}") from error
        if json.dumps(recorded) != json.dumps(replayed):
            return Difference(number, recorded, replayed)
    return None


class _Replayed:
    """A core, and the batch that its engine would be running."""

    def __init__(self, start: Event) -> None:
        config: CoreConfig = from_mapping(CoreConfig, start["config"])
        self._core = VerifierCore(config, from_plain(start["info"], TargetInfo))
        self._batch: Batch | None = None
        core = self._core
        self._tell: dict[str, Callable[[Event], list[Reply]]] = {
            "message": lambda e: core.on_message(e["conn"], message_from_plain(e["message"]), e["now"]),
            "malformed": lambda e: core.on_malformed(e["conn"], _protocol_error(e), e["now"]),
            "disconnect": lambda e: core.on_disconnect(e["conn"], e["now"]),
            "time": lambda e: core.on_time(e["now"]),
            "shutdown": lambda e: core.on_shutdown(e["now"]),
            "verified": lambda e: core.on_verified(self._running(), _outcomes(e), e["started"], e["now"]),
            "failed": lambda e: core.on_failed(self._running(), e["reason"], e["now"]),
        }

    def decide(self, event: Event) -> object:
        """What the core decides on the event's fact, in plain form."""
        if event["event"] == "connect":
            self._core.on_connect(event["conn"], event["now"])
            return None
        if event["event"] == "batch":
            self._batch = self._core.next_batch(event["now"])
            return None if self._batch is None else batch_to_plain(self._batch)
        return replies_to_plain(self._tell[event["event"]](event))

    def _running(self) -> Batch:
        assert self._batch is not None, "an outcome without a batch"
        return self._batch


def _protocol_error(event: Event) -> ProtocolError:
    return ProtocolError(ErrorCode(event["code"]), event["reason"], event["stream"])


def _outcomes(event: Event) -> list[Outcome]:
    return [from_plain(outcome, Outcome) for outcome in event["outcomes"]]
