"""The draft server: hosts the core on asyncio, with a task for each session at a verifier."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Coroutine, Iterable, Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.drafter.answer_stream import AnswerStream
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.decisions import Decision, Dial, StreamEvent, StreamFailed, TokensCommitted
from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.draft_runner import DraftResult, DraftRunner
from goodspeed.drafter.metrics import DrafterMetrics
from goodspeed.drafter.uplink import Uplink, VerifierEndpoint
from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.messages import Error, FinishReason, FromVerifier, Hello, Welcome
from goodspeed.protocol.transport import Connection, LinkTraffic

log = logging.getLogger(__name__)

PARTING = "the drafter is shutting down"


class DrafterServer:
    """Answers requests by way of the verifiers in its list. `run` must be running; use it within one event loop."""

    def __init__(
        self, core: DrafterCore, drafting: DraftRunner, hello: Hello, verifiers: Sequence[VerifierEndpoint]
    ) -> None:
        self._core = core
        self._drafting = drafting
        self._hello = hello
        self._uplinks = [Uplink(verifier) for verifier in verifiers]
        self._sessions: dict[int, asyncio.Task[None]] = {}  # by verifier: from dialling to its end
        self.metrics = DrafterMetrics()
        self.metrics.watch(lambda: self.traffic, lambda: self.num_streams)
        self.metrics.watch_links([verifier.address for verifier in verifiers], core.links)
        self._met = asyncio.Event()  # set: some verifier has been met
        self._answers: dict[StreamKey, AnswerStream] = {}
        self._news: deque[StreamEvent] = deque()
        self._is_working = False  # the draft engine's work is being handed out
        self._settling: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._has_parted = False

    @property
    def num_streams(self) -> int:
        """Unfinished ones."""
        return self._core.num_streams

    @property
    def is_up(self) -> bool:
        """There is a session with a verifier."""
        return self._core.is_up

    @property
    def lost_reason(self) -> str:
        """Why there is none."""
        return self._core.lost_reason

    @property
    def welcome(self) -> Welcome | None:
        """The verifiers' limits (the last one's, while there is none); None before the first session."""
        return self._core.welcome

    @property
    def traffic(self) -> LinkTraffic:
        """Bytes and frames to and from all verifiers so far."""
        return sum((uplink.traffic for uplink in self._uplinks), LinkTraffic())

    async def meet(self, deadline_s: float) -> Welcome:
        """Wait for the first session. Raises LinkLostError if there is none in time."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._met.wait()
        except TimeoutError:
            raise LinkLostError(f"no verifier could be reached: {self._core.lost_reason}") from None
        assert self._core.welcome is not None
        return self._core.welcome

    def generate(self, request: GenerationRequest) -> AnswerStream:
        """The answer as it comes; close it when done. Some verifier must have been met.

        Raises RequestError if the request is beyond the verifier's limits, LinkLostError when the drafter shuts down.
        """
        if self._has_parted:
            raise LinkLostError(PARTING)
        key, decision = self._core.open(request, time.monotonic())
        assert self._core.welcome is not None
        answer = self._answers[key] = AnswerStream(self._core.welcome.verifier, lambda: self._cancel(key))
        log.info("stream opened", extra={"ids": {"stream": key, "num_prompt": len(request.tokens)}})
        self._do(decision)
        self._soon(self._settle_apart())
        return answer

    async def run(self) -> None:
        """Keep the sessions that the core wants until cancelled; then every stream ends, here and there."""
        try:
            while True:
                for dial in self._core.dials:
                    if dial.verifier not in self._sessions:
                        self._sessions[dial.verifier] = asyncio.create_task(self._serve(dial))
                ended, _ = await asyncio.wait(self._sessions.values(), return_when=asyncio.FIRST_COMPLETED)
                self._sessions = {verifier: task for verifier, task in self._sessions.items() if task not in ended}
                for task in ended:
                    task.result()  # whatever a verifier can cause is handled: what is raised is ours
        finally:
            await self._part()

    async def _serve(self, dial: Dial) -> None:
        """One session, from dialling to its end."""
        await asyncio.sleep(dial.at - time.monotonic())
        uplink = self._uplinks[dial.verifier]
        try:
            session = await uplink.dial(self._hello)
            self._do(self._core.on_link_up(dial.verifier, session.welcome, time.monotonic()))
            self._met.set()
            await self._converse(dial.verifier, session.connection, session.rest)
        except (LinkLostError, ProtocolError) as error:
            reason = uplink.hang_up or str(error)
            connection = uplink.drop(reason)
            self._do(self._core.on_link_lost(dial.verifier, reason, time.monotonic()))
            await self._settle_apart()
            if connection:
                await connection.close()

    async def _converse(self, verifier: int, connection: Connection, messages: Sequence[object]) -> None:
        """Take messages and answer them. Raises LinkLostError or ProtocolError at the session's end."""
        uplink = self._uplinks[verifier]
        while True:
            for message in messages:
                if isinstance(message, FromVerifier):
                    self._do(self._core.on_message(verifier, message, time.monotonic()))
            await self._settle(verifier)
            if uplink.hang_up:
                raise LinkLostError(uplink.hang_up)
            messages = await _receive(connection)

    async def _part(self) -> None:
        """End every stream and hang up."""
        self._has_parted = True
        for task in self._sessions.values():
            task.cancel()
        await asyncio.gather(*self._sessions.values(), return_exceptions=True)
        for key, answer in list(self._answers.items()):
            self._cancel(key)
            answer.put(StreamFailed(key, LinkLostError(PARTING)), "")
        await self._settle_apart()
        await asyncio.gather(*self._settling)
        await asyncio.gather(*(uplink.connection.close() for uplink in self._uplinks if uplink.connection))
        if self._timer:
            self._timer.cancel()
        self._drafting.close()

    def _do(self, decision: Decision) -> None:
        """Take a decision; _settle carries it out."""
        for verifier, message in decision.messages:
            self._uplinks[verifier].outbox.append(message)
        self._news.extend(decision.news)
        for verifier, reason in decision.hang_ups:
            self._uplinks[verifier].hang_up = reason

    async def _settle(self, verifier: int) -> None:
        """Draft, send and tell: first what this verifier waits for, then what users wait for."""
        self._work()
        self._flush_soon(other for other in self._pending() if other != verifier)
        try:
            await self._flush(verifier)
        finally:
            self._deliver()
            self._arm()

    async def _settle_apart(self) -> None:
        """As _settle, outside of any conversation."""
        self._work()
        pending = self._pending()
        self._flush_soon(pending[1:])
        for verifier in pending[:1]:
            await self._flush_apart(verifier)
        self._deliver()
        self._arm()

    def _pending(self) -> Sequence[int]:
        """Verifiers to whom something is to be sent, or whose link is to be closed."""
        return [i for i, uplink in enumerate(self._uplinks) if uplink.outbox or uplink.hang_up]

    def _flush_soon(self, verifiers: Iterable[int]) -> None:
        """None of them waits for another."""
        for verifier in verifiers:
            self._soon(self._flush_apart(verifier))

    async def _flush_apart(self, verifier: int) -> None:
        """As _flush; the conversation of a link that is lost hears of it by itself."""
        uplink = self._uplinks[verifier]
        if uplink.hang_up and uplink.connection:
            await uplink.connection.close()
            return
        with contextlib.suppress(LinkLostError):
            await self._flush(verifier)

    async def _flush(self, verifier: int) -> None:
        """Raises LinkLostError."""
        uplink = self._uplinks[verifier]
        while uplink.outbox and uplink.connection:
            message = uplink.outbox.popleft()
            try:
                await uplink.connection.send((message,))
            except ProtocolError as error:  # too long to be sent: as if the verifier had refused it
                assert not isinstance(message, Hello)
                refusal = Error(error.code, str(error), message.stream, message.epoch)
                self._do(self._core.on_message(verifier, refusal, time.monotonic()))

    def _soon(self, doing: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(doing)
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    def _work(self) -> None:
        self._is_working = True
        while (work := self._core.next_drafts()) is not None:
            self._drafting.submit(work, self._on_drafted)
        self._is_working = False

    def _on_drafted(self, drafted: DraftResult) -> None:
        self._do(self._core.on_drafted(drafted.drafts, drafted.drafting_s, time.monotonic()))
        if not self._is_working:
            self._soon(self._settle_apart())

    def _deliver(self) -> None:
        while self._news:
            news = self._news.popleft()
            if isinstance(news, TokensCommitted):
                self.metrics.observe(news)
            if answer := self._answers.get(news.stream):
                answer.put(news, self._name_of(news))
                self._forget_ended(news)

    def _name_of(self, news: StreamEvent) -> str:
        """Of the verifier, as it has called itself."""
        welcome = self._core.links[news.verifier].welcome if isinstance(news, TokensCommitted) else None
        return welcome.verifier if welcome else ""

    def _forget_ended(self, news: StreamEvent) -> None:
        if isinstance(news, StreamFailed):
            log.warning("stream failed", extra={"ids": {"stream": news.stream, "why": news.error}})
            del self._answers[news.stream]
        elif news.finish is not FinishReason.NONE:
            log.info("stream finished", extra={"ids": {"stream": news.stream, "reason": news.finish.name}})
            del self._answers[news.stream]

    def _cancel(self, key: StreamKey) -> None:
        if self._answers.pop(key, None):
            log.info("stream cancelled", extra={"ids": {"stream": key}})
            self._do(self._core.cancel(key, time.monotonic()))
            self._soon(self._settle_apart())

    def _arm(self) -> None:
        """Have on_time called when the core wants it; a timer that comes too early asks again."""
        wake_at = self._core.wake_at()
        if wake_at is None or (self._timer and self._timer.when() <= wake_at):
            return
        if self._timer:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(wake_at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._do(self._core.on_time(time.monotonic()))
        self._soon(self._settle_apart())


async def _receive(connection: Connection) -> Sequence[object]:
    """The next messages. Raises LinkLostError, and ProtocolError if the peer is beyond repair."""
    while True:
        try:
            return await connection.receive()
        except ProtocolError as error:
            if error.stream is None:
                raise
            log.warning("message dropped", extra={"ids": {"stream": error.stream, "why": error}})
