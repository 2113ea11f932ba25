"""The event log: one JSON object per line, for each input that a core was given and what the core decided on it.

Replay, dashboard and tuning read it. A log holds the runs of one core, one after another; each starts with a start
event, which has all that is needed to make the core.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from goodspeed.errors import DataError

FORMAT = 4
"""Version of the log's keys and values. A change that an older reader would misread increments it."""

Event = Mapping[str, Any]
"""A parsed line of the log: "event" is its name, "now" its time."""


class EventSink(Protocol):
    """Takes events in the order in which they happened."""

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        """`now` is the host's monotonic clock in seconds; fields must be JSON values."""


class NullEventSink:
    """Drops every event: the log is off."""

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        """Do nothing."""


class EventFanOut:
    """Writes every event to several sinks."""

    def __init__(self, sinks: Sequence[EventSink]) -> None:
        self._sinks = sinks

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        for sink in self._sinks:
            sink.write(event, now, fields)


class JsonlEventLog:
    """Appends events to a file, one line each. The file is buffered until the buffer is full or close() is called."""

    def __init__(self, path: Path) -> None:
        """Raises DataError if the file cannot be written."""
        self._file = open_to_append(path)

    def write(self, event: str, now: float, fields: Mapping[str, object]) -> None:
        self._file.write(json.dumps({"event": event, "now": now, **fields}, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Flush the buffer and close the file."""
        self._file.close()


def open_to_append(path: Path) -> IO[str]:
    """Open a JSONL file, whose folder is created if necessary. Raises DataError if it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise DataError(f"cannot write {path}: {error}") from error


def write_start(events: EventSink, now: float, fields: Mapping[str, object]) -> None:
    """Write the start event of a run: the log's format, and what a new core is made from."""
    events.write("start", now, {"format": FORMAT, **fields})


def check_start(start: Event) -> None:
    """Raises DataError if the run that starts with this event has another format."""
    if (found := start.get("format", 1)) != FORMAT:
        raise DataError(f"the log has format {found!r}, this version of GoodSpeed reads format {FORMAT}")


def read_events(lines: Iterable[str]) -> Iterator[tuple[int, Event]]:
    """The number of each line, from 1, and its event. Raises DataError for a line that is no event."""
    for number, line in enumerate(lines, start=1):
        try:
            event = json.loads(line)
        except ValueError as error:
            cause = str(error) if line.endswith("\n") else f"no complete JSON; was its writer stopped? ({error})"
            raise DataError(f"line {number} of the event log: {cause}") from error
        if not isinstance(event, dict) or not isinstance(event.get("event"), str):
            raise DataError(f"line {number} of the event log: expected an object with the name of an event")
        yield number, event
