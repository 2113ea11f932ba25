"""The live feed of a drafter: the text of running answers as it is committed, with the origin of every token."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby

from msgspec import Struct

from goodspeed.decoding.draft import StreamKey
from goodspeed.drafter.core.outbox import StreamEvent, StreamFailed, TokensCommitted
from goodspeed.models.detokenizer import IncrementalDetokenizer

MAX_BEHIND = 1024
"""Events that a viewer may be behind; one that is slower is dropped."""
FAILED = "failed"


class LiveText(Struct, frozen=True):
    """What a round has added to an answer."""

    stream: StreamKey
    parts: tuple[tuple[str, str], ...]
    """(origin, text): the origin is remote or co_located for accepted draft tokens, target for the target's own."""
    finish: str = ""
    """At the end of the answer: stop, length or failed."""


class LiveFeed:
    """Passes committed text on to viewers. While there is none, it decodes nothing and keeps nothing.

    A viewer that comes in the middle of an answer gets the rest of it.
    """

    def __init__(self, new_detokenizer: Callable[[], IncrementalDetokenizer]) -> None:
        self._new_detokenizer = new_detokenizer
        self._detokenizers: dict[StreamKey, IncrementalDetokenizer] = {}
        self._viewers: set[Viewer] = set()
        self._is_closed = False

    def on_event(self, event: StreamEvent) -> None:
        """For the server: the next event of some stream."""
        if not self._viewers:
            return
        text = self._failed(event) if isinstance(event, StreamFailed) else self._committed(event)
        for viewer in self._viewers:
            viewer.put(text)

    @contextmanager
    def view(self) -> Iterator["Viewer"]:
        """A viewer of what is committed from now on, until the context is left."""
        viewer = Viewer()
        if self._is_closed:
            viewer.end()
        self._viewers.add(viewer)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._detokenizers.clear()

    def close(self) -> None:
        """End the feeds of all viewers."""
        self._is_closed = True
        for viewer in self._viewers:
            viewer.end()

    def _failed(self, event: StreamFailed) -> LiveText:
        self._detokenizers.pop(event.stream, None)
        return LiveText(event.stream, (), FAILED)

    def _committed(self, event: TokensCommitted) -> LiveText:
        detokenizer = self._detokenizers.get(event.stream)
        if detokenizer is None:
            detokenizer = self._detokenizers[event.stream] = self._new_detokenizer()
        decoded = [
            (origin, detokenizer.push((token,))) for origin, token in zip(origins(event), event.tokens, strict=True)
        ]
        if event.finish:
            decoded.append(("target", detokenizer.flush()))
            del self._detokenizers[event.stream]
        parts = [(origin, "".join(text for _, text in run)) for origin, run in groupby(decoded, lambda part: part[0])]
        return LiveText(event.stream, tuple(part for part in parts if part[1]), _finish(event))


class Viewer:
    """One viewer's queue."""

    def __init__(self) -> None:
        self._texts: asyncio.Queue[LiveText | None] = asyncio.Queue()
        self._has_ended = False

    def put(self, text: LiveText) -> None:
        """For the feed: one more event, or the end for a viewer that is too far behind."""
        if self._texts.qsize() >= MAX_BEHIND:
            self.end()
        elif not self._has_ended:
            self._texts.put_nowait(text)

    def end(self) -> None:
        """For the feed: the end, after what is queued."""
        if not self._has_ended:
            self._has_ended = True
            self._texts.put_nowait(None)

    async def next(self, pause_s: float = 0.0) -> list[LiveText | None]:
        """The next event, and those that come within `pause_s` after it; None is the end."""
        texts = [await self._texts.get()]
        if pause_s:
            await asyncio.sleep(pause_s)
        while not self._texts.empty():
            texts.append(self._texts.get_nowait())
        return texts


def origins(event: TokensCommitted) -> list[str]:
    """Where each committed token comes from: accepted proposal, the verifier's accepted draft, the target's own."""
    num_remote = min(event.round.num_accepted, len(event.tokens))
    num_co_located = min(event.round.num_co_located_accepted, len(event.tokens) - num_remote)
    num_target = len(event.tokens) - num_remote - num_co_located
    return ["remote"] * num_remote + ["co_located"] * num_co_located + ["target"] * num_target


def _finish(event: TokensCommitted) -> str:
    return event.finish.name.lower() if event.finish else ""
