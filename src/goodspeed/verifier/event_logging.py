"""A core that writes every input and decision to the event log, one line each: enough to replay them."""

from msgspec import structs

from goodspeed.engine.interface import TargetInfo, Verify, Work
from goodspeed.errors import ProtocolError
from goodspeed.protocol.message_json import message_to_json, replies_to_json
from goodspeed.protocol.messages import Message
from goodspeed.records.event_log import EventSink, write_start
from goodspeed.records.json_values import to_json_value
from goodspeed.verifier.core.batch import Batch, OpenStream, StepResult, StreamUpdate
from goodspeed.verifier.core.client import ConnId
from goodspeed.verifier.core.core import CoreStats, VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.outbox import Reply
from goodspeed.verifier.core.served_streams import FinishedStream


class LoggedVerifierCore:
    """A VerifierCore with one event per call: the fields of the input, and the decision.

    next_batch writes an event when it closes a batch and when it postpones one; otherwise it decides nothing.
    """

    def __init__(self, config: VerifierCoreConfig, info: TargetInfo, events: EventSink, now: float) -> None:
        self._core = VerifierCore(config, info)
        self._events = events
        write_start(events, now, {"config": to_json_value(config), "info": to_json_value(info)})

    def on_connect(self, conn: ConnId, now: float, names: frozenset[str] | None = None) -> None:
        self._events.write("connect", now, {"conn": conn, "names": None if names is None else sorted(names)})
        self._core.on_connect(conn, now, names)

    def on_message(self, conn: ConnId, message: Message, now: float) -> list[Reply]:
        replies = self._core.on_message(conn, message, now)
        return self._write("message", now, {"conn": conn, "message": message_to_json(message)}, replies)

    def on_malformed(self, conn: ConnId, error: ProtocolError, now: float) -> list[Reply]:
        replies = self._core.on_malformed(conn, error, now)
        fields = {
            "conn": conn,
            "code": int(error.code),
            "reason": str(error),
            "stream": error.stream,
            "epoch": error.epoch,
        }
        return self._write("malformed", now, fields, replies)

    def on_disconnect(self, conn: ConnId, now: float) -> list[Reply]:
        return self._write("disconnect", now, {"conn": conn}, self._core.on_disconnect(conn, now))

    def on_revoked(self, conn: ConnId, now: float) -> list[Reply]:
        return self._write("revoked", now, {"conn": conn}, self._core.on_revoked(conn, now))

    def on_time(self, now: float) -> list[Reply]:
        return self._write("time", now, {}, self._core.on_time(now))

    def on_shutdown(self, now: float) -> list[Reply]:
        return self._write("shutdown", now, {}, self._core.on_shutdown(now))

    def next_batch(self, now: float) -> Batch | None:
        batch = self._core.next_batch(now)
        if batch is not None:
            self._events.write("batch", now, {"batch": batch_to_json(batch)})
        elif self._core.close_at is not None:
            self._events.write("wait", now, {"until": self._core.close_at})
        return batch

    def wake_at(self) -> float | None:
        return self._core.wake_at()

    def on_verified(self, batch: Batch, result: StepResult, started: float, now: float) -> list[Reply]:
        replies = self._core.on_verified(batch, result, started, now)
        return self._write("verified", now, {"started": started, **result_to_json(result)}, replies)

    def on_failed(self, batch: Batch, reason: str, now: float) -> list[Reply]:
        return self._write("failed", now, {"reason": reason}, self._core.on_failed(batch, reason, now))

    def finished(self, client: str, stream_id: int) -> FinishedStream | None:
        return self._core.finished(client, stream_id)

    def stats(self) -> CoreStats:
        return self._core.stats()

    def _write(self, event: str, now: float, fields: dict[str, object], replies: list[Reply]) -> list[Reply]:
        self._events.write(event, now, {**fields, "replies": replies_to_json(replies)})
        return replies


def batch_to_json(batch: Batch) -> dict[str, object]:
    """The batch as JSON values; streams that it opens by their keys alone.

    Why it closed is left out: that depends on when it was postponed, which is logged as a decision of its own.
    """
    values = to_json_value(structs.replace(batch, updates=()))
    del values["closed_by"]
    return {**values, "updates": [_update_to_json(update) for update in batch.updates]}


def result_to_json(result: StepResult) -> dict[str, object]:
    """The result as JSON values; each piece of work names its kind. Draft distributions are in the proposals."""
    return {**to_json_value(structs.replace(result, work=())), "work": [_work_to_json(item) for item in result.work]}


def _update_to_json(update: StreamUpdate) -> dict[str, object]:
    if isinstance(update, OpenStream):
        num_cached = update.spec.prefix.num_tokens if update.spec.prefix else 0
        return {"kind": "OpenStream", "stream": update.stream, "num_cached": num_cached}
    return {"kind": type(update).__name__, **to_json_value(update)}


def _work_to_json(item: Work) -> dict[str, object]:
    if isinstance(item, Verify):
        return {"kind": "Verify", "stream": item.stream, "draft_tokens": item.draft_tokens}
    return {"kind": "Prefill", **to_json_value(item)}
