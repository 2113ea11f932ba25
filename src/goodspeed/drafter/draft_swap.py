"""Exchanges the draft engine while streams run: no stream is dropped, and no round waits.

A successor is loaded, and reads the streams that are open, while its predecessor goes on drafting. It takes over
between two pieces of work, and begins its first one by hearing what it has missed. The text does not depend on who
drafts, so it does not change.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.drafter.core.decisions import DraftWork, EngineUpdate, StreamClosed, StreamCommitted, StreamOpened
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner, OnDrafted
from goodspeed.drafter.engine_updates import tell
from goodspeed.engine.interface import DraftEngine

Lengths = Mapping[StreamKey, int]
"""How many committed tokens of each stream somebody has heard of."""


@dataclass(slots=True)
class _Stream:
    sampling: Sampling
    tokens: list[int]


class Ledger:
    """What a draft engine has been told: the open streams and their committed tokens."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, _Stream] = {}

    def hear(self, notes: Sequence[EngineUpdate]) -> None:
        """What the engine is about to hear."""
        for note in notes:
            if isinstance(note, StreamOpened):
                self._streams[note.stream] = _Stream(note.sampling, list(note.tokens))
            elif isinstance(note, StreamCommitted):
                self._streams[note.stream].tokens.extend(note.tokens)
            else:
                del self._streams[note.stream]

    def lengths(self) -> dict[StreamKey, int]:
        """Of all open streams."""
        return {key: len(stream.tokens) for key, stream in self._streams.items()}

    def missed(self, heard: Lengths) -> Iterator[EngineUpdate]:
        """What must be told to somebody who has heard so much, until it knows what is open now."""
        yield from (StreamClosed(key) for key in heard if key not in self._streams)
        for key, stream in self._streams.items():
            if key not in heard:
                yield StreamOpened(key, tuple(stream.tokens), stream.sampling)
            elif len(stream.tokens) > heard[key]:
                yield StreamCommitted(key, tuple(stream.tokens[heard[key] :]))


@dataclass(slots=True)
class _Successor:
    drafting: DraftRunner
    heard: Lengths
    has_taken_over: asyncio.Event


class SwappableDraftRunner:
    """A DraftRunner whose engine can be exchanged. Use it within one event loop."""

    def __init__(self, drafting: DraftRunner) -> None:
        self._drafting = drafting
        self._ledger = Ledger()
        self._successor: _Successor | None = None
        self._missed: list[EngineUpdate] = []  # by the engine that has just taken over
        self._is_busy = False
        self._turn = asyncio.Lock()

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        self._ledger.hear(work.notes)
        notes, self._missed = (*self._missed, *work.notes), []
        self._is_busy = True

        def hand_on(drafted: DraftResult) -> None:
            self._is_busy = False
            self._take_over()
            on_drafted(drafted)

        self._drafting.submit(replace(work, notes=notes), hand_on)

    async def swap(self, engine: DraftEngine, drafting: DraftRunner) -> None:
        """Have `engine`, which has no stream yet and runs in `drafting`, take over; returns when it has.

        It reads the open streams in a thread of its own meanwhile. If that fails the predecessor stays.
        """
        async with self._turn:
            heard = self._ledger.lengths()
            await asyncio.to_thread(tell, engine, list(self._ledger.missed({})))
            self._successor = _Successor(drafting, heard, asyncio.Event())
            successor = self._successor
            if not self._is_busy:
                self._take_over()
            await successor.has_taken_over.wait()

    def close(self) -> None:
        self._drafting.close()

    def _take_over(self) -> None:
        """Between two pieces of work: nobody waits for either engine."""
        if self._successor is None:
            return
        successor, self._successor = self._successor, None
        predecessor, self._drafting = self._drafting, successor.drafting
        self._missed = list(self._ledger.missed(successor.heard))
        predecessor.close()
        successor.has_taken_over.set()
