"""The verification server: runs the core in an asyncio event loop, and the engine in a thread of its own."""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

from prometheus_client.metrics_core import Metric

from goodspeed.decoding.constraint import Constraint
from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.grammar.grammars import check_constraint
from goodspeed.engine.interface import CoLocatedDrafts, TargetEngine
from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError, RequestError
from goodspeed.protocol.messages import (
    Error,
    FinishReason,
    Hello,
    Message,
    Open,
    Opened,
    Refused,
    RoundMode,
    Verdict,
    Welcome,
)
from goodspeed.protocol.transport import Connection, LinkTraffic
from goodspeed.records.event_log import EventSink
from goodspeed.verifier.core.batch import Batch, StepResult
from goodspeed.verifier.core.client import MAX_ABSENT, ConnId
from goodspeed.verifier.core.core import CoreStats, VerifierCore
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.core.outbox import Reply
from goodspeed.verifier.drafter_link import DrafterLink
from goodspeed.verifier.event_logging import LoggedVerifierCore
from goodspeed.verifier.metrics import VerifierMetrics, core_metrics
from goodspeed.verifier.step import run_batch

log = logging.getLogger(__name__)

MESSAGES_PER_TURN = 64
"""Messages of one frame that are handled before other links get a turn."""
DRAIN_S = 2.0
"""How long close() waits for drafters to receive their last message."""


class _ConcludedStep(NamedTuple):
    """A step of which nothing is sent yet."""

    batch: Batch
    result: StepResult
    step_s: float
    replies: Sequence[Reply]


class VerifierServer:
    """`run` must be running; a transport calls `serve` for each connection. Use it within one event loop.

    All inputs and decisions of the core go to `events`, if given. An engine that raises fails the streams of its batch;
    the server continues.

    `co_located` drafts for streams whose drafters are far, slow, poor or absent; it must not fail.

    `engine_thread` is the thread that loaded the engine, if loading computed anything. OpenMP keeps a team of threads
    per computing thread, and with two teams on all cores every parallel region waits for sleeping threads
    (docs/explain/engine.md).
    """

    def __init__(
        self,
        config: VerifierCoreConfig,
        engine: TargetEngine,
        events: EventSink | None = None,
        engine_thread: ThreadPoolExecutor | None = None,
        co_located: CoLocatedDrafts | None = None,
    ) -> None:
        if co_located is None:
            config = replace(config, co_located_tokens=0)
        self.metrics = VerifierMetrics()
        self.metrics.watch_model(engine.info)
        self._clock = time.monotonic
        self._engine = engine
        self._co_located = co_located
        info = replace(engine.info, grammars=engine.grammars.version if engine.grammars else "")
        self._core: VerifierCore | LoggedVerifierCore = (
            VerifierCore(config, info) if events is None else LoggedVerifierCore(config, info, events, self._clock())
        )
        self._engine_thread = engine_thread or new_engine_thread()
        self._links: dict[ConnId, DrafterLink] = {}
        self._past_traffic: dict[str, LinkTraffic] = {}  # of closed links, by drafter, the longest closed first
        self._conns = itertools.count(1)
        self._serving: set[asyncio.Task[object]] = set()
        self._wake = asyncio.Event()
        self._stopped = asyncio.Event()
        self._is_closing = False

    async def serve(self, connection: Connection) -> None:
        """Serve one link until it is lost or its session ends; the caller closes it."""
        conn, link = next(self._conns), DrafterLink(connection)
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        self._links[conn] = link
        log.info("link opened", extra={"ids": {"conn": conn, "peer": connection.peer}})
        self._core.on_connect(conn, self._clock(), connection.identity.names)
        if self._is_closing:
            link.post(Refused(ErrorCode.SHUTTING_DOWN, "the verifier is shutting down"))
        reading = asyncio.create_task(self._read(conn, link), name=f"from {connection.peer}")
        revoking = asyncio.create_task(self._end_when_revoked(conn, connection.identity.revoked))
        try:
            await asyncio.wait({reading, link.sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            revoking.cancel()
            link.sending.cancel()
            self._serving.discard(task)
            self._on_link_closed(conn, link)
        for ended in await asyncio.gather(reading, revoking, link.sending, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended  # a drafter cannot cause it: it is a fault of the server

    async def run(self) -> None:
        """Drive the engine until close(). At the end the engine has finished its step and closed every stream."""
        concluded: _ConcludedStep | None = None
        try:
            while True:
                batch = self._core.next_batch(self._clock())
                if batch is not None:
                    concluded = await self._step(batch, concluded)
                elif concluded is not None:
                    self._report(concluded)
                    concluded = None
                elif self._is_closing:
                    return
                else:
                    await self._wait()
        finally:
            self._engine_thread.shutdown(wait=False)
            self._stopped.set()

    async def close(self) -> None:
        """End all sessions, and wait until the engine is idle; `run` then returns. Idempotent."""
        self._is_closing = True
        self._deliver(self._core.on_shutdown(self._clock()))
        self._wake.set()
        await self._stopped.wait()
        if self._serving:
            await asyncio.wait(self._serving, timeout=DRAIN_S)

    def stats(self) -> CoreStats:
        """The state of the core, with the core's own clients. Call it in the event loop."""
        return self._core.stats()

    def collect_metrics(self) -> list[Metric]:
        """The state of the core as metrics. Call it in the event loop."""
        traffic = dict(self._past_traffic)
        for link in self._links.values():
            traffic[link.drafter] = traffic.get(link.drafter, LinkTraffic()) + link.connection.traffic
        return core_metrics(self._core.stats(), traffic)

    async def _read(self, conn: ConnId, link: DrafterLink) -> None:
        while True:
            try:
                messages = await link.connection.receive()
            except LinkLostError:
                return
            except ProtocolError as error:
                self._deliver(self._core.on_malformed(conn, error, self._clock()))
            else:
                await self._handle(conn, link, messages)
            self._wake.set()
            await asyncio.sleep(0)  # a busy link lets the others in

    async def _end_when_revoked(self, conn: ConnId, revoked: asyncio.Event | None) -> None:
        if revoked is not None:
            await revoked.wait()
            self._deliver(self._core.on_revoked(conn, self._clock()))
            self._wake.set()

    async def _handle(self, conn: ConnId, link: DrafterLink, messages: Sequence[Message]) -> None:
        for i, message in enumerate(messages):
            if isinstance(message, Hello) and not link.drafter:
                link.drafter = message.drafter
            if isinstance(message, Open) and (constraint := message.sampling.constraint):
                await self._open_constrained(conn, message, constraint)
            else:
                self._deliver(self._core.on_message(conn, message, self._clock()))
            if i % MESSAGES_PER_TURN == MESSAGES_PER_TURN - 1:
                await asyncio.sleep(0)

    async def _open_constrained(self, conn: ConnId, request: Open, constraint: Constraint) -> None:
        """Compile the constraint in another thread; the core gets the request only if the engine can serve it."""
        try:
            await asyncio.to_thread(check_constraint, self._engine.grammars, constraint)
        except RequestError as error:
            wrong = ProtocolError(ErrorCode.BAD_REQUEST, str(error), request.stream, request.epoch)
            self._deliver(self._core.on_malformed(conn, wrong, self._clock()))
        else:
            self._deliver(self._core.on_message(conn, request, self._clock()))

    async def _step(self, batch: Batch, last: _ConcludedStep | None) -> _ConcludedStep | None:
        """Run one step, and report the last one while the engine works. None: the step has failed."""
        started = self._clock()
        stepping = asyncio.get_running_loop().run_in_executor(self._engine_thread, self._run_batch, batch)
        if last is not None:
            self._report(last)
        try:
            result = await stepping
        except Exception as error:
            log.exception("engine step failed", extra={"ids": {"streams": len(batch.streams)}})
            self._deliver(self._core.on_failed(batch, f"the engine failed: {error}", self._clock()))
            return None
        now = self._clock()
        return _ConcludedStep(batch, result, now - started, self._core.on_verified(batch, result, started, now))

    def _report(self, step: _ConcludedStep) -> None:
        """Send what the step has brought, and count it."""
        self._deliver(step.replies)
        self.metrics.on_step(step.batch, step.result, step.step_s, step.replies)

    def _run_batch(self, batch: Batch) -> StepResult:
        """In the engine's thread. A stream that cannot be ended does not fail the batch."""
        return run_batch(self._engine, batch, self._co_located, time.perf_counter, _log_end_failed)

    async def _wait(self) -> None:
        """Wait until a message has arrived, or until the core's timer is due."""
        wake_at = self._core.wake_at()
        delay_s = None if wake_at is None else wake_at - self._clock()
        timer = None if delay_s is None else asyncio.get_running_loop().call_later(delay_s, self._wake.set)
        await self._wake.wait()
        self._wake.clear()
        if timer is not None:
            timer.cancel()
        now = self._clock()
        if wake_at is not None and now >= wake_at:
            self._deliver(self._core.on_time(now))

    def _deliver(self, replies: Sequence[Reply]) -> None:
        for conn, message in replies:
            link = self._links.get(conn)
            if link is not None:
                link.post(message)
                self.metrics.on_sent(message)
                self._log(conn, link.drafter, message)

    def _log(self, conn: ConnId, drafter: str, message: Message) -> None:
        """Log one line per change of a session's or a stream's state."""
        ids: dict[str, object] = {"conn": conn, "drafter": drafter}
        if isinstance(message, Verdict):
            if message.finish is not FinishReason.NONE:
                ids |= {"stream": message.stream, "reason": message.finish.name, "length": message.committed_length}
                if finished := self._core.finished(drafter, message.stream):
                    ids |= {f"{mode.label}_rounds": finished.rounds_by_mode[mode] for mode in RoundMode}
                log.info("stream finished", extra={"ids": ids})
        elif isinstance(message, Opened):
            log.info("stream opened", extra={"ids": ids | _opened_ids(message)})
        elif isinstance(message, Welcome):
            log.info("session started", extra={"ids": ids})
        elif isinstance(message, Refused):
            log.warning("session refused", extra={"ids": ids | {"code": message.code.name, "reason": message.reason}})
        elif isinstance(message, Error):
            event = "session ended" if message.stream is None else "stream ended"
            ids |= {"stream": message.stream, "code": message.code.name, "reason": message.reason}
            is_usual = message.code is ErrorCode.UNKNOWN_PREFIX  # it is opened again with all its tokens
            log.log(logging.INFO if is_usual else logging.WARNING, event, extra={"ids": ids})

    def _on_link_closed(self, conn: ConnId, link: DrafterLink) -> None:
        del self._links[conn]
        past = self._past_traffic.pop(link.drafter, LinkTraffic())
        self._past_traffic[link.drafter] = past + link.connection.traffic
        while len(self._past_traffic) > MAX_ABSENT:
            del self._past_traffic[next(iter(self._past_traffic))]
        self._deliver(self._core.on_disconnect(conn, self._clock()))
        self._wake.set()
        log.info("link closed", extra={"ids": {"conn": conn, "drafter": link.drafter}})


def _log_end_failed(key: StreamKey, error: Exception) -> None:
    log.error("ending a stream failed", extra={"ids": {"key": key}}, exc_info=error)


def _opened_ids(opened: Opened) -> dict[str, object]:
    return {"stream": opened.stream, "epoch": opened.epoch, "cached_tokens": opened.cached_tokens}


def new_engine_thread() -> ThreadPoolExecutor:
    """The thread in which the engine computes everything."""
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix="engine")
