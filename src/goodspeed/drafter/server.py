"""The draft server: hosts the core on asyncio, with a session at one verifier at a time."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence

from goodspeed.drafter.answer import Answer
from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.decision import Committed, Decision, Failed, News
from goodspeed.drafter.core.request import Request
from goodspeed.drafter.drafting import Drafted, Drafting
from goodspeed.drafter.metrics import DrafterMetrics
from goodspeed.drafter.uplink import Verifier, dial
from goodspeed.engine.base import StreamKey
from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.messages import Error, FinishReason, FromDrafter, FromVerifier, Hello, Welcome
from goodspeed.protocol.transport import Connection, Traffic

log = logging.getLogger(__name__)

PARTING = "the drafter is shutting down"


class DrafterServer:
    """Answers requests by way of the verifiers in its list. `run` must be running; use it within one event loop."""

    def __init__(self, core: DrafterCore, drafting: Drafting, hello: Hello, verifiers: Sequence[Verifier]) -> None:
        self.metrics = DrafterMetrics()
        self.metrics.watch(lambda: self.traffic, lambda: self.num_streams)
        self._core = core
        self._drafting = drafting
        self._hello = hello
        self._verifiers = verifiers
        self._connection: Connection | None = None
        self._past_traffic = Traffic()  # of links that are gone
        self._met = asyncio.Event()  # set: some verifier has been met
        self._answers: dict[StreamKey, Answer] = {}
        self._outbox: deque[FromDrafter] = deque()
        self._news: deque[News] = deque()
        self._hang_up: str | None = None
        self._troubles: dict[str, str] = {}  # why verifiers failed the last time, by address; told once
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
        """The verifier's limits (the last one's, while there is none); None before the first session."""
        return self._core.welcome

    @property
    def traffic(self) -> Traffic:
        """Bytes and frames to and from all verifiers so far."""
        return _sum(self._past_traffic, self._connection.traffic) if self._connection else self._past_traffic

    async def meet(self, deadline_s: float) -> Welcome:
        """Wait for the first session. Raises LinkLostError if there is none in time."""
        try:
            async with asyncio.timeout(deadline_s):
                await self._met.wait()
        except TimeoutError:
            raise LinkLostError(f"no verifier could be reached: {self._core.lost_reason}") from None
        assert self._core.welcome is not None
        return self._core.welcome

    def generate(self, request: Request) -> Answer:
        """The answer as it comes; close it when done. Some verifier must have been met.

        Raises RequestError if the request is beyond the verifier's limits, LinkLostError when the drafter shuts down.
        """
        if self._has_parted:
            raise LinkLostError(PARTING)
        key, decision = self._core.open(request, time.monotonic())
        assert self._core.welcome is not None
        answer = self._answers[key] = Answer(self._core.welcome.verifier, lambda: self._cancel(key))
        log.info("stream opened", extra={"ids": {"stream": key, "num_prompt": len(request.tokens)}})
        self._do(decision)
        self._settle_soon()
        return answer

    async def run(self) -> None:
        """Keep a session with some verifier until cancelled; then every stream ends, here and there."""
        try:
            while True:
                await self._serve_next()
        finally:
            await self._part()

    async def _serve_next(self) -> None:
        """One session, from dialling to its end."""
        next_dial = self._core.next_dial
        await asyncio.sleep(next_dial.at - time.monotonic())
        verifier = self._verifiers[next_dial.verifier]
        try:
            uplink = await dial(verifier, self._hello)
            self._connection = uplink.connection
            self._troubles.pop(verifier.address, None)
            ids = {"verifier": uplink.welcome.verifier, "address": verifier.address, "model": uplink.welcome.model}
            log.info("verifier found", extra={"ids": ids})
            self._do(self._core.on_link_up(uplink.welcome, time.monotonic()))
            self._met.set()
            await self._converse(uplink.connection, uplink.rest)
        except (LinkLostError, ProtocolError) as error:
            await self._on_lost(verifier, self._hang_up or str(error))

    async def _converse(self, connection: Connection, messages: Sequence[object]) -> None:
        """Take messages and answer them. Raises LinkLostError or ProtocolError at the session's end."""
        while True:
            for message in messages:
                if isinstance(message, FromVerifier):
                    self._do(self._core.on_message(message, time.monotonic()))
            await self._settle()
            if self._hang_up:
                raise LinkLostError(self._hang_up)
            messages = await _receive(connection)

    async def _on_lost(self, verifier: Verifier, reason: str) -> None:
        level = logging.DEBUG if self._troubles.get(verifier.address) == reason else logging.WARNING
        log.log(level, "verifier lost", extra={"ids": {"address": verifier.address, "why": reason}})
        self._troubles[verifier.address] = reason
        await self._disconnect()
        self._do(self._core.on_link_lost(reason, time.monotonic()))
        await self._settle()

    async def _disconnect(self) -> None:
        self._outbox.clear()
        self._hang_up = None
        if connection := self._connection:
            self._past_traffic, self._connection = _sum(self._past_traffic, connection.traffic), None
            await connection.close()

    async def _part(self) -> None:
        """End every stream and hang up."""
        self._has_parted = True
        for key, answer in list(self._answers.items()):
            self._cancel(key)
            answer.put(Failed(key, LinkLostError(PARTING)), "")
        await self._settle_apart()
        await asyncio.gather(*self._settling)
        await self._disconnect()
        if self._timer:
            self._timer.cancel()
        self._drafting.close()

    def _do(self, decision: Decision) -> None:
        """Take a decision; _settle carries it out."""
        self._outbox.extend(decision.messages)
        self._news.extend(decision.news)
        self._hang_up = self._hang_up or decision.hang_up

    async def _settle(self) -> None:
        """Draft, send and tell: first what the verifier waits for, then what users wait for."""
        self._work()
        try:
            await self._flush()
        finally:
            self._deliver()
            self._arm()

    def _settle_soon(self) -> None:
        task = asyncio.create_task(self._settle_apart())
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _settle_apart(self) -> None:
        """As _settle, outside of the conversation, which hears by itself if the link is lost."""
        with contextlib.suppress(LinkLostError):
            await self._settle()
        if self._hang_up and self._connection:
            await self._connection.close()

    def _work(self) -> None:
        self._is_working = True
        while (work := self._core.next_drafts()) is not None:
            self._drafting.submit(work, self._on_drafted)
        self._is_working = False

    def _on_drafted(self, drafted: Drafted) -> None:
        self._do(self._core.on_drafted(drafted.drafts, drafted.drafting_s, time.monotonic()))
        if not self._is_working:
            self._settle_soon()

    async def _flush(self) -> None:
        """Raises LinkLostError."""
        while self._outbox and self._connection:
            message = self._outbox.popleft()
            try:
                await self._connection.send((message,))
            except ProtocolError as error:  # too long to be sent: as if the verifier had refused it
                assert not isinstance(message, Hello)
                refusal = Error(error.code, str(error), message.stream, message.epoch)
                self._do(self._core.on_message(refusal, time.monotonic()))

    def _deliver(self) -> None:
        while self._news:
            news = self._news.popleft()
            if isinstance(news, Committed):
                self.metrics.observe(news)
            if answer := self._answers.get(news.stream):
                assert self._core.welcome is not None
                answer.put(news, self._core.welcome.verifier)
                self._forget_ended(news)

    def _forget_ended(self, news: News) -> None:
        if isinstance(news, Failed):
            log.warning("stream failed", extra={"ids": {"stream": news.stream, "why": news.error}})
            del self._answers[news.stream]
        elif news.finish is not FinishReason.NONE:
            log.info("stream finished", extra={"ids": {"stream": news.stream, "reason": news.finish.name}})
            del self._answers[news.stream]

    def _cancel(self, key: StreamKey) -> None:
        if self._answers.pop(key, None):
            log.info("stream cancelled", extra={"ids": {"stream": key}})
            self._do(self._core.cancel(key, time.monotonic()))
            self._settle_soon()

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
        self._settle_soon()


async def _receive(connection: Connection) -> Sequence[object]:
    """The next messages. Raises LinkLostError, and ProtocolError if the peer is beyond repair."""
    while True:
        try:
            return await connection.receive()
        except ProtocolError as error:
            if error.stream is None:
                raise
            log.warning("message dropped", extra={"ids": {"stream": error.stream, "why": error}})


def _sum(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(
        one.sent_bytes + other.sent_bytes,
        one.received_bytes + other.received_bytes,
        one.sent_frames + other.sent_frames,
        one.received_frames + other.received_frames,
    )
