"""The draft server: hosts the core on asyncio, with a task for each session with a verifier."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.drafter.answer_stream import AnswerStream
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.link import Dial
from goodspeed.drafter.core.outbox import StreamEvent, StreamFailed, TokensCommitted
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner
from goodspeed.drafter.metrics import DrafterMetrics
from goodspeed.drafter.uplink import Uplink, VerifierEndpoint
from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.messages import Error, FromVerifier, Hello, Welcome
from goodspeed.protocol.transport import Connection, LinkTraffic

log = logging.getLogger(__name__)

SHUTTING_DOWN = "the drafter is shutting down"


class DrafterServer:
    """Answers requests with the help of the verifiers in its list, while `run` runs. Use it in one event loop.

    A request's way: `generate` opens a stream in the core; `_settle` sends what the core has decided; `_converse`
    receives verdicts; `_notify_users` passes committed tokens to the AnswerStream that `generate` has returned.
    """

    def __init__(
        self, core: DrafterCore, runner: DraftRunner, hello: Hello, verifiers: Sequence[VerifierEndpoint]
    ) -> None:
        self._core = core
        self._runner = runner
        self._hello = hello
        self._uplinks = [Uplink(verifier) for verifier in verifiers]
        self._sessions: dict[int, asyncio.Task[None]] = {}  # by verifier, from dialling to the end of the session
        self.metrics = DrafterMetrics()
        self.metrics.watch(lambda: self.traffic, lambda: self.num_streams)
        self.metrics.watch_links([verifier.address for verifier in verifiers], core.links)
        self.metrics.watch_run_ahead(core.run_ahead_counts)
        self.metrics.watch_model(lambda: self.welcome)
        self._observers: list[Callable[[StreamEvent], None]] = [self.metrics.answers.on_event]
        self._failed: set[int] = set()  # verifiers that were tried in vain
        self._has_tried = asyncio.Event()  # set: there was a session, or every verifier was tried in vain
        self._answers: dict[StreamKey, AnswerStream] = {}
        self._is_submitting = False  # work is being submitted: the runner may call _on_drafted at once
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_shut_down = False

    def watch(self, observer: Callable[[StreamEvent], None]) -> None:
        """Have `observer` called with every event of every stream."""
        self._observers.append(observer)

    @property
    def name(self) -> str:
        """The client name, as verifiers know it."""
        return self._hello.drafter

    @property
    def num_streams(self) -> int:
        """Unfinished streams."""
        return self._core.num_streams

    @property
    def is_up(self) -> bool:
        """True if there is a session with a verifier."""
        return self._core.links.is_up

    @property
    def lost_reason(self) -> str:
        """Why the last link was lost."""
        return self._core.links.lost_reason

    @property
    def welcome(self) -> Welcome | None:
        """The verifiers' limits (while none is connected, the last one's); None before the first session."""
        return self._core.welcome

    @property
    def traffic(self) -> LinkTraffic:
        """Bytes and frames to and from all verifiers so far."""
        return sum((uplink.traffic for uplink in self._uplinks), LinkTraffic())

    async def meet(self, timeout_s: float) -> Welcome:
        """Wait for the first session.

        Raises LinkLostError if there is none in time, or at once if every verifier was tried in vain.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._has_tried.wait()
        except TimeoutError:
            raise LinkLostError(f"no verifier could be reached within {timeout_s:g} s") from None
        if self._core.welcome is None:
            raise LinkLostError(f"no verifier could be reached: {self._core.links.lost_reason}")
        return self._core.welcome

    def generate(self, *requests: GenerationRequest) -> AnswerStream:
        """The answers as they come; close the stream when done. Call it after `meet`.

        Raises RequestError if a request exceeds the verifier's limits, LinkLostError when the drafter shuts down.
        """
        if self._is_shut_down:
            raise LinkLostError(SHUTTING_DOWN)
        answers = AnswerStream(self._cancel)
        try:
            for request in requests:
                self._open(request, answers)
        except BaseException:
            answers.close()
            raise
        self._start(self._settle())
        return answers

    async def run(self) -> None:
        """Keep the sessions that the core wants, until cancelled; then end every stream here and at the verifiers."""
        try:
            while True:
                for dial in self._core.dials:
                    if dial.verifier not in self._sessions:
                        self._sessions[dial.verifier] = asyncio.create_task(self._serve(dial))
                ended, _ = await asyncio.wait(self._sessions.values(), return_when=asyncio.FIRST_COMPLETED)
                self._sessions = {verifier: task for verifier, task in self._sessions.items() if task not in ended}
                for task in ended:
                    task.result()  # an error that no verifier can cause is a bug: let it out
        finally:
            await self._shut_down()

    def _open(self, request: GenerationRequest, answers: AnswerStream) -> None:
        key = self._core.open(request, time.monotonic())
        assert self._core.welcome is not None
        self._answers[key] = answers
        answers.add(key, self._core.welcome.verifier)
        self.metrics.answers.on_opened(key, len(request.tokens))
        log.info("stream opened", extra={"ids": {"stream": key, "num_prompt": len(request.tokens)}})

    def _cancel(self, key: StreamKey, reason: str) -> None:
        if answers := self._answers.pop(key, None):
            self.metrics.answers.on_ended(key, reason)
            log.info("stream cancelled", extra={"ids": {"stream": key, **answers.stats_of(key).rounds_by_mode}})
            self._core.cancel(key, time.monotonic())
            self._start(self._settle())

    async def _serve(self, dial: Dial) -> None:
        """One session, from dialling to its end."""
        await asyncio.sleep(dial.at - time.monotonic())
        uplink = self._uplinks[dial.verifier]
        try:
            session = await uplink.dial(self._hello)
            self._core.on_link_up(dial.verifier, session.welcome, time.monotonic())
            self._has_tried.set()
            await self._converse(dial.verifier, session.connection, session.early_messages)
        except (LinkLostError, ProtocolError) as error:
            self._queue_messages()  # those for this verifier are lost with its link
            reason = uplink.disconnect_reason or str(error)
            connection = uplink.drop(reason)
            self._core.on_link_lost(dial.verifier, reason, time.monotonic())
            self._failed.add(dial.verifier)
            if len(self._failed) == len(self._uplinks):
                self._has_tried.set()
            await self._settle()
            if connection:
                await connection.close()

    async def _converse(self, verifier: int, connection: Connection, messages: Sequence[object]) -> None:
        """Receive messages and carry out what the core decides. Raises LinkLostError or ProtocolError at the end."""
        uplink = self._uplinks[verifier]
        while True:
            for message in messages:
                if isinstance(message, FromVerifier):
                    self._core.on_message(verifier, message, time.monotonic())
            await self._settle(verifier)
            if uplink.disconnect_reason:
                raise LinkLostError(uplink.disconnect_reason)
            messages = await _receive(connection)

    async def _settle(self, current: int | None = None) -> None:
        """Carry out what the core has decided: draft, send, disconnect; then notify users, who can wait.

        Each verifier is served in a task of its own, so that none waits for another. The exception is `current`, the
        verifier whose session calls this: it is served first, and LinkLostError is raised if its link is lost.
        """
        self._draft()
        self._queue_messages()
        pending = [i for i, uplink in enumerate(self._uplinks) if uplink.is_pending and i != current]
        first = pending.pop(0) if current is None and pending else None
        for verifier in pending:
            self._start(self._flush(verifier))
        try:
            if current is not None:
                await self._send(current)
            elif first is not None:
                await self._flush(first)
        finally:
            self._notify_users()
            self._set_timer()

    def _draft(self) -> None:
        """Submit the work that the core has for the draft engine."""
        self._is_submitting = True
        while (work := self._core.next_drafts()) is not None:
            self._runner.submit(work, self._on_drafted)
        self._is_submitting = False

    def _on_drafted(self, result: DraftResult) -> None:
        self._core.on_drafted(result.drafts, result.drafting_s, time.monotonic())
        if not self._is_submitting:
            self._start(self._settle())

    def _queue_messages(self) -> None:
        """Sort the core's messages by verifier."""
        for verifier, message in self._core.outbox.take_messages():
            self._uplinks[verifier].queue.append(message)
        for verifier, reason in self._core.outbox.take_disconnects():
            self._uplinks[verifier].disconnect_reason = reason

    async def _flush(self, verifier: int) -> None:
        """Send or disconnect. The verifier's own session notices a lost link, and reports it."""
        uplink = self._uplinks[verifier]
        if uplink.disconnect_reason and uplink.connection:
            await uplink.connection.close()
            return
        with contextlib.suppress(LinkLostError):
            await self._send(verifier)

    async def _send(self, verifier: int) -> None:
        """Send what is queued for the verifier. Raises LinkLostError."""
        uplink = self._uplinks[verifier]
        while uplink.queue and uplink.connection:
            message = uplink.queue.popleft()
            try:
                await uplink.connection.send((message,))
                self.metrics.on_sent(message)
            except ProtocolError as error:  # too long to be sent: treat it as refused by the verifier
                assert not isinstance(message, Hello)
                refusal = Error(error.code, str(error), message.stream, message.epoch)
                self._core.on_message(verifier, refusal, time.monotonic())
                self._queue_messages()

    def _notify_users(self) -> None:
        for event in self._core.outbox.take_events():
            for observer in self._observers:
                observer(event)
            if isinstance(event, TokensCommitted):
                self.metrics.observe(event)
            if answers := self._answers.get(event.stream):
                answers.put(event, self._verifier_name(event))
                self._forget_ended(event, answers)

    def _verifier_name(self, event: StreamEvent) -> str:
        welcome = self._core.links[event.verifier].welcome if isinstance(event, TokensCommitted) else None
        return welcome.verifier if welcome else ""

    def _forget_ended(self, event: StreamEvent, answers: AnswerStream) -> None:
        if isinstance(event, StreamFailed):
            log.warning("stream failed", extra={"ids": {"stream": event.stream, "reason": event.error}})
            del self._answers[event.stream]
        elif event.finish:
            ids = {"stream": event.stream, "reason": event.finish.name, **answers.stats_of(event.stream).rounds_by_mode}
            log.info("stream finished", extra={"ids": ids})
            del self._answers[event.stream]

    def _set_timer(self) -> None:
        """Have on_time called when the core wants it. A timer that is too early does no harm."""
        wake_at = self._core.wake_at()
        if wake_at is None or (self._timer and self._timer.when() <= wake_at):
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._core.on_time(time.monotonic())
        self._start(self._settle())

    def _start(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _shut_down(self) -> None:
        """End every stream and close every link."""
        self._is_shut_down = True
        for task in self._sessions.values():
            task.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        for key, answers in list(self._answers.items()):
            self._cancel(key, "abort")
            answers.put(StreamFailed(key, LinkLostError(SHUTTING_DOWN)), "")
        await self._settle()
        await asyncio.gather(*self._tasks)
        await asyncio.gather(*(uplink.connection.close() for uplink in self._uplinks if uplink.connection))
        if self._timer:
            self._timer.cancel()
        self._runner.close()


async def _receive(connection: Connection) -> Sequence[object]:
    """The next messages. Raises LinkLostError, and ProtocolError if the error concerns the whole session."""
    while True:
        try:
            return await connection.receive()
        except ProtocolError as error:
            if error.stream is None:
                raise
            log.warning("message dropped", extra={"ids": {"stream": error.stream, "reason": error}})
