"""Runs the draft engine for the server: in the event loop if it takes microseconds, else in a thread of its own."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

from goodspeed.decoding.draft import Draft
from goodspeed.drafter.core.decisions import DraftWork
from goodspeed.drafter.engine_updates import tell
from goodspeed.engine.interface import DraftEngine

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DraftResult:
    """Drafts in the order of the work's requests, and how long the engine was at them."""

    drafts: Sequence[Draft]
    drafting_s: float


OnDrafted = Callable[[DraftResult], None]


class DraftRunner(Protocol):
    """One piece of work at a time."""

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        """Have the work done; on_drafted is called in the event loop, perhaps before this returns."""

    def close(self) -> None:
        """Wait for the work that is being done; on_drafted is not called any more."""


class InlineDraftRunner:
    """Within the event loop: for engines that draft faster than a thread would be woken."""

    def __init__(self, engine: DraftEngine) -> None:
        self._worker = _Worker(engine)

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        on_drafted(self._worker.do(work))

    def close(self) -> None:
        """Nothing is being done."""


class ThreadDraftRunner:
    """In one thread of its own: for engines that would hold up the event loop."""

    def __init__(self, engine: DraftEngine) -> None:
        self._worker = _Worker(engine)
        self._executor = ThreadPoolExecutor(1, "draft engine")
        self._is_closed = False

    def submit(self, work: DraftWork, on_drafted: OnDrafted) -> None:
        loop = asyncio.get_running_loop()

        def hand_over(future: Future[DraftResult]) -> None:
            if not self._is_closed:
                loop.call_soon_threadsafe(on_drafted, future.result())

        self._executor.submit(self._worker.do, work).add_done_callback(hand_over)

    def close(self) -> None:
        self._is_closed = True
        self._executor.shutdown()


class _Worker:
    """Does one piece of work. An engine that fails is put away: the answers go on by the target's own tokens alone."""

    def __init__(self, engine: DraftEngine) -> None:
        self._engine: DraftEngine | None = engine

    def do(self, work: DraftWork) -> DraftResult:
        started = time.monotonic()
        drafts = self._draft(work)
        return DraftResult(drafts, time.monotonic() - started)

    def _draft(self, work: DraftWork) -> Sequence[Draft]:
        if self._engine is not None:
            try:
                tell(self._engine, work.notes)
                return self._engine.draft(work.requests) if work.requests else []
            except Exception:
                log.exception("the draft engine has failed; from now on nothing is drafted")
                self._engine = None
        return [Draft((), ()) for _ in work.requests]
