"""The event log: one JSON object per line, the facts that came in and the decisions that went out.

It is the interface to replay, dashboard and tuning: whatever a core was told, and what it decided, in order.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol


class EventSink(Protocol):
    """Takes events in the order in which they happened."""

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        """`now` is the host's monotonic clock in seconds; fields must be JSON values."""


class NullEventSink:
    """Drops every event: the log is off."""

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        """Does nothing."""


class EventFanOut:
    """Hands every event to several sinks."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = sinks

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        for sink in self._sinks:
            sink.write(event, now, fields)


class JsonlEventLog:
    """Appends events to a file, a line each. Buffered; close() or a full buffer writes it out."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        self._file.write(json.dumps({"event": event, "now": now, **fields}, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Write out what is buffered and close the file."""
        self._file.close()
