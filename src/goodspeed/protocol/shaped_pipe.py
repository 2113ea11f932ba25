"""A pipe behind an emulated link: frames arrive at the times that link shapers compute."""

import asyncio
from collections.abc import Awaitable, Callable

from goodspeed.errors import LinkLostError
from goodspeed.protocol.connection import Pipe
from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.protocol.send_queue import SendQueue


class ShapedPipe:
    """Delays the frames of another pipe in both directions."""

    def __init__(self, inner: Pipe, uplink: LinkShaper, downlink: LinkShaper) -> None:
        self._inner = inner
        self._out = SendQueue(uplink)
        self._in = SendQueue(downlink)
        self._sender = asyncio.create_task(_pump(self._out.read, inner.write, self._out.cut))
        self._receiver = asyncio.create_task(_pump(inner.read, self._in.write, self._in.end))

    async def write(self, frame: bytes) -> None:
        await self._out.write(frame)

    async def read(self) -> bytes:
        return await self._in.read()

    async def finish(self) -> None:
        self._out.end("the link is closed")
        await asyncio.wait([self._sender])
        await self._inner.finish()

    def abort(self, reason: str) -> None:
        self._sender.cancel()
        self._receiver.cancel()
        self._out.cut(reason)
        self._in.cut(reason)
        self._inner.abort(reason)


async def _pump(
    read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], Awaitable[None]], end: Callable[[str], None]
) -> None:
    try:
        while True:
            await write(await read())
    except LinkLostError as error:
        end(str(error))
