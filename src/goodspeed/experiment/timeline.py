"""Traced requests as a timeline for ui.perfetto.dev, in Chrome's trace event format (JSON).

Each client is a process and each actor a track. If spans of an actor overlap (concurrent streams), the actor gets
further tracks, because spans on one track must nest.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from goodspeed.simulator.result import Span


def write_timeline(spans: Sequence[Span], path: Path) -> None:
    """Write the timeline file."""
    path.write_bytes(msgspec.json.encode({"displayTimeUnit": "ms", "traceEvents": events(spans)}))


def events(spans: Sequence[Span]) -> list[dict[str, Any]]:
    """The names of processes and tracks, then the spans in order of their start."""
    tracks = _Tracks()
    span_events = [
        _event(span, tracks.place(span)) for span in sorted(spans, key=lambda span: (span.start_s, span.end_s))
    ]
    return [*tracks.names(), *span_events]


class _Tracks:
    """Assigns numbers to clients and actors, in order of appearance."""

    def __init__(self) -> None:
        self._clients: dict[str, int] = {}
        self._free_at: dict[tuple[str, str], list[float]] = {}  # by (client, actor): the end of each track's last span
        self._numbers: dict[tuple[str, str, int], int] = {}  # by (client, actor, track index): thread

    def place(self, span: Span) -> tuple[int, int]:
        """A (process, thread) on which the span overlaps no other. Spans must come in order of their start."""
        process = self._clients.setdefault(span.client, len(self._clients) + 1)
        tracks = self._free_at.setdefault((span.client, span.actor), [])
        track = next((i for i, free_at in enumerate(tracks) if free_at <= span.start_s), len(tracks))
        tracks[track : track + 1] = [span.end_s]
        return process, self._numbers.setdefault((span.client, span.actor, track), len(self._numbers) + 1)

    def names(self) -> Iterator[dict[str, Any]]:
        for client, process in self._clients.items():
            yield _name("process_name", process, 0, client)
        for (client, actor, track), thread in self._numbers.items():
            yield _name("thread_name", self._clients[client], thread, f"{actor} {track + 1}" if track else actor)


def _event(span: Span, place: tuple[int, int]) -> dict[str, Any]:
    start_us, end_us = 1e6 * span.start_s, 1e6 * span.end_s
    process, thread = place
    event = {"ph": "X", "name": span.what, "cat": span.actor, "pid": process, "tid": thread}
    return {**event, "ts": start_us, "dur": end_us - start_us, "args": {"request": span.request}}


def _name(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}
