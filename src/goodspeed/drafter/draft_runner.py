"""Where the draft engine runs: in the event loop if it takes microseconds, else in a thread of its own."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from goodspeed.decoding.draft import Draft
from goodspeed.drafter.core.engine_updates import DraftWork, apply_updates
from goodspeed.engine.interface import DraftEngine, ReadsLater

log = logging.getLogger(__name__)

FAILED = "the draft engine has failed; nothing is drafted from now on"


@dataclass(frozen=True, slots=True)
class DraftResult:
    """Drafts in the order of the work's requests, and the engine's time for all of them."""

    drafts: Sequence[Draft]
    drafting_s: float
    has_failed: bool = False
    """The engine has failed; the drafts are empty."""


OnDrafted = Callable[[DraftResult], None]


class DraftRunner(Protocol):
    """Runs a draft engine, with one piece of work at a time."""

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        """Start the work. on_drafted is called in the event loop, possibly before submit returns."""

    def close(self) -> None:
        """Wait for the work that is running; its on_drafted is not called."""


class InlineDraftRunner:
    """Runs the engine in the event loop: for engines that are faster than waking a thread."""

    def __init__(self, engine: DraftEngine) -> None:
        self._worker = _Worker(engine)

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        on_drafted(self._worker.run(work))

    def close(self) -> None:
        """Nothing is running."""


class ThreadDraftRunner:
    """Runs the engine in a thread of its own: for engines that would block the event loop.

    Between pieces of work, its model reads what it has not read yet of prompts, and of text that was committed without
    proposals.
    """

    def __init__(self, engine: DraftEngine) -> None:
        self._worker = _Worker(engine)
        self._worker.read_later()
        self._executor = ThreadPoolExecutor(1, "draft engine")
        self._is_closed = False
        self._is_reading = False

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        loop = asyncio.get_running_loop()

        def on_done(future: Future[DraftResult]) -> None:
            if not self._is_closed:
                loop.call_soon_threadsafe(on_drafted, future.result())

        self._executor.submit(self._worker.run, work).add_done_callback(on_done)
        if not self._is_reading:
            self._is_reading = True
            self._executor.submit(self._read)

    def _read(self) -> None:
        """Read a piece, and the next one after the work that was submitted meanwhile."""
        if not self._is_closed and self._worker.catch_up():
            self._executor.submit(self._read)
        else:
            self._is_reading = False

    def close(self) -> None:
        self._is_closed = True
        self._executor.shutdown()


class _Worker:
    """Runs one piece of work. After the engine's first failure all drafts are empty, and answers continue without."""

    def __init__(self, engine: DraftEngine) -> None:
        self._engine: DraftEngine | None = engine

    def run(self, work: DraftWork) -> DraftResult:
        started = time.monotonic()
        drafts = self._draft(work)
        return DraftResult(drafts, time.monotonic() - started, self._engine is None)

    def read_later(self) -> None:
        """Leave the reading of long texts to `catch_up`."""
        if isinstance(self._engine, ReadsLater):
            self._engine.read_later()

    def catch_up(self) -> bool:
        """As ReadsLater.catch_up; False if the engine reads everything at once, or has failed."""
        if isinstance(self._engine, ReadsLater):
            try:
                return self._engine.catch_up()
            except Exception:
                log.exception(FAILED)
                self._engine = None
        return False

    def _draft(self, work: DraftWork) -> Sequence[Draft]:
        if self._engine is not None:
            try:
                apply_updates(self._engine, work.updates)
                return self._engine.draft(work.requests) if work.requests else []
            except Exception:
                log.exception(FAILED)
                self._engine = None
        return [Draft((), ()) for _ in work.requests]
