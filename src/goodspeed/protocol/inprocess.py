"""A transport within one event loop, with the real codec and connection and without sockets."""

import asyncio

from goodspeed.protocol.codec import decode_drafter_frame, decode_verifier_frame
from goodspeed.protocol.connection import DEFAULT_LIMITS, FramedConnection, QueueLimits
from goodspeed.protocol.link_config import LinkConfig
from goodspeed.protocol.link_shaper import make_link_shapers
from goodspeed.protocol.send_queue import SendQueue
from goodspeed.protocol.transport import Accept, Connect, Connection


class InProcessTransport:
    """Connects drafters to a verifier in this process. Use it inside one running event loop."""

    def __init__(self, accept: Accept, limits: QueueLimits = DEFAULT_LIMITS) -> None:
        self._accept = accept
        self._limits = limits
        self._served: list[asyncio.Task[None]] = []
        self._queues: list[SendQueue] = []

    def connector(self, link: LinkConfig | None = None, seed: int = 0) -> Connect:
        """A function with which a drafter connects. With a `link`, each connection starts the emulated link anew."""

        async def connect() -> Connection:
            links = make_link_shapers(link, seed, asyncio.get_running_loop().time()) if link else (None, None)
            up, down = map(SendQueue, links)
            self._queues += [up, down]
            verifier_end = FramedConnection(
                _QueuePipe(down, up), decode_drafter_frame, "in-process drafter", self._limits
            )
            self._served.append(asyncio.create_task(self._serve(verifier_end)))
            return FramedConnection(_QueuePipe(up, down), decode_verifier_frame, "in-process verifier", self._limits)

        return connect

    def cut(self) -> None:
        """Cut every connection at both ends; frames that are under way are lost."""
        for queue in self._queues:
            queue.cut("the link was cut")
        self._queues.clear()

    async def close(self) -> None:
        """Cut every connection and wait for the verifier's tasks. Raises what they raised."""
        self.cut()
        await asyncio.gather(*self._served)

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._accept(connection)
        finally:
            await connection.close()


class _QueuePipe:
    """A pipe over two send queues."""

    def __init__(self, outward: SendQueue, inward: SendQueue) -> None:
        self._outward = outward
        self._inward = inward

    async def write(self, frame: bytes) -> None:
        await self._outward.write(frame)

    async def read(self) -> bytes:
        return await self._inward.read()

    async def finish(self) -> None:
        self._outward.end("the peer closed the link")

    def abort(self, reason: str) -> None:
        self._outward.end(reason)
        self._inward.cut(reason)
