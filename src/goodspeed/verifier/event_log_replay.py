"""Replay of a verifier's event log."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from goodspeed.config import from_mapping
from goodspeed.engine.interface import Outcome, Prefill, TargetInfo, Verify, Work
from goodspeed.errors import DataError, ErrorCode, ProtocolError
from goodspeed.protocol.message_json import message_from_json, replies_to_json
from goodspeed.records.event_log import Event
from goodspeed.records.json_values import from_json_value
from goodspeed.records.replay import DecisionDifference, replay_log
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.outbox import Reply
from goodspeed.verifier.event_logging import batch_to_json


def replay(lines: Iterable[str]) -> DecisionDifference | None:
    """The first difference, or None. Raises DataError if the log cannot be replayed."""
    return replay_log(lines, ReplayedVerifier)


class ReplayedVerifier:
    """A core, and the batch that its engine runs at the present point of the log."""

    def __init__(self, start: Event) -> None:
        config: VerifierCoreConfig = from_mapping(VerifierCoreConfig, start["config"])
        self._core = VerifierCore(config, from_json_value(start["info"], TargetInfo))
        self._batch: Batch | None = None
        core = self._core
        self._inputs: dict[str, Callable[[Event], list[Reply]]] = {
            "message": lambda e: core.on_message(e["conn"], message_from_json(e["message"]), e["now"]),
            "malformed": lambda e: core.on_malformed(e["conn"], _protocol_error(e), e["now"]),
            "disconnect": lambda e: core.on_disconnect(e["conn"], e["now"]),
            "revoked": lambda e: core.on_revoked(e["conn"], e["now"]),
            "time": lambda e: core.on_time(e["now"]),
            "shutdown": lambda e: core.on_shutdown(e["now"]),
            "verified": lambda e: core.on_verified(self._running(), _result(e), e["started"], e["now"]),
            "failed": lambda e: core.on_failed(self._running(), e["reason"], e["now"]),
        }

    def logged_decision(self, event: Event) -> object:
        return event.get("batch", event.get("until", event.get("replies")))

    def replayed_decision(self, event: Event) -> object:
        """What the core decides on the event's input now, as JSON values."""
        if event["event"] == "connect":
            names = event.get("names")
            self._core.on_connect(event["conn"], event["now"], None if names is None else frozenset(names))
            return None
        if event["event"] in {"batch", "wait"}:
            self._batch = self._core.next_batch(event["now"])
            return self._core.close_at if self._batch is None else batch_to_json(self._batch)
        return replies_to_json(self._inputs[event["event"]](event))

    def _running(self) -> Batch:
        if self._batch is None:
            raise DataError("an outcome without a batch")
        return self._batch


def _protocol_error(event: Event) -> ProtocolError:
    return ProtocolError(ErrorCode(event["code"]), event["reason"], event["stream"], event.get("epoch"))


def _result(event: Event) -> StepResult:
    outcomes = [from_json_value(outcome, Outcome) for outcome in event["outcomes"]]
    co_located = tuple(map(tuple, event["co_located"]))
    return StepResult(tuple(map(_work, event["work"])), outcomes, co_located, event["drafting_s"])


def _work(item: Mapping[str, Any]) -> Work:
    fields = {name: value for name, value in item.items() if name != "kind"}
    work: Work = from_json_value(fields, Verify if item["kind"] == "Verify" else Prefill)
    return work
