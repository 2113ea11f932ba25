"""A live verifier with the toy engine, and drafters that reach it over a real connection."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from goodspeed.decoding.draft import DraftRequest
from goodspeed.engine.interface import CoLocatedDrafts, TargetEngine
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.protocol.connection import QueueLimits
from goodspeed.protocol.inprocess import InProcessTransport
from goodspeed.protocol.messages import Error, Message, Open, Opened, Refused, Verdict
from goodspeed.protocol.session import DrafterStream
from goodspeed.protocol.transport import Connect, Connection
from goodspeed.records.event_log import EventSink
from goodspeed.testing.virtual_verifier import hello
from goodspeed.verifier.core.core_config import VerifierCoreConfig
from goodspeed.verifier.server import VerifierServer

LIMITS = QueueLimits(max_bytes=1 << 14, stall_s=0.5, close_s=1.0)


@dataclass(frozen=True)
class LiveVerifierServer:
    """A running verifier server."""

    server: VerifierServer
    transport: InProcessTransport

    @property
    def connect(self) -> Connect:
        return self.transport.connector()

    def value(self, name: str) -> float:
        """A metric without labels."""
        return next(metric.samples[0].value for metric in self.server.collect_metrics() if metric.name == name)


@asynccontextmanager
async def live_verifier(
    engine: TargetEngine,
    config: VerifierCoreConfig | None = None,
    events: EventSink | None = None,
    co_located: CoLocatedDrafts | None = None,
) -> AsyncIterator[LiveVerifierServer]:
    """A server that runs while the context lasts, at most 60 s."""
    async with asyncio.timeout(60.0):
        server = VerifierServer(config or VerifierCoreConfig(), engine, events, co_located=co_located)
        running = asyncio.create_task(server.run())
        live = LiveVerifierServer(server, InProcessTransport(server.serve, LIMITS))
        try:
            yield live
        finally:
            await server.close()
            await live.transport.close()
            await running


async def connect_drafter(connect: Connect, name: str) -> Connection:
    """A link whose Hello was accepted."""
    connection = await connect()
    await connection.send([hello(name)])
    await connection.receive()
    return connection


async def receive_one(connection: Connection, kind: type[Message]) -> Message:
    """The next message of this kind; earlier messages are discarded."""
    while True:
        for message in await connection.receive():
            if isinstance(message, kind):
                return message


class LiveDrafter:
    """Serves its requests with the toy draft engine; `texts` holds the tokens of finished streams."""

    def __init__(self, connection: Connection, acceptance_rate: float) -> None:
        self.texts: dict[int, list[int]] = {}
        self.errors: list[Error | Refused] = []
        self._connection = connection
        self._drafts = ToyDraft(acceptance_rate)
        self._streams: dict[int, DrafterStream] = {}

    async def generate(self, requests: Sequence[Open]) -> dict[int, list[int]]:
        """Open all streams at once, and serve them until all are finished or failed."""
        self._streams = {request.stream: DrafterStream(request) for request in requests}
        await self._connection.send(requests)
        while self._streams:
            answers = [self._answer(message) for message in await self._connection.receive()]
            if proposals := [answer for answer in answers if answer is not None]:
                await self._connection.send(proposals)
        return self.texts

    def _answer(self, message: Message) -> Message | None:
        if isinstance(message, Opened):
            stream = self._streams[message.stream]
            self._drafts.open(message.stream, stream.committed, stream.opening.sampling)
        elif isinstance(message, Verdict):
            return self._on_verdict(self._streams[message.stream], message)
        elif isinstance(message, Error | Refused):
            self.errors.append(message)
            if isinstance(message, Error) and message.stream is not None:
                del self._streams[message.stream]
        return None

    def _on_verdict(self, stream: DrafterStream, verdict: Verdict) -> Message | None:
        self._drafts.commit(verdict.stream, stream.on_verdict(verdict))
        if verdict.finish:
            self.texts[verdict.stream] = stream.committed
            self._drafts.close(verdict.stream)
            del self._streams[verdict.stream]
            return None
        if not stream.is_ready:
            return None
        (draft,) = self._drafts.draft([DraftRequest(verdict.stream, stream.max_draft)])
        return stream.propose(draft, drafting_s=0.0)
