"""The send queue: the frames that are under way in one direction, bounded, optionally over an emulated link."""

import asyncio
from collections import deque

from goodspeed.errors import LinkLostError
from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.protocol.size import wire_bytes

MAX_UNDERWAY_BYTES = 1 << 18
"""Bytes that may be under way before a writer waits, as in a socket's buffer and on the link itself."""


class SendQueue:
    """Frames for one reader from one writer, in order. The event loop's timers are late by up to 1 ms."""

    def __init__(self, shaper: LinkShaper | None = None) -> None:
        self._shaper = shaper
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[float, bytes]] = deque()  # time of arrival, frame
        self._underway_bytes = 0
        self._end: str | None = None  # the reason, after end()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Send a frame; wait while the queue is full. Raises LinkLostError after end() or cut()."""
        while self._underway_bytes > MAX_UNDERWAY_BYTES and self._end is None:
            self._writable.clear()
            await self._writable.wait()
        if self._end is not None:
            raise LinkLostError(self._end)
        now = self._loop.time()
        arrives_at = self._shaper.delivery(wire_bytes(len(frame)), now) if self._shaper else now
        self._frames.append((arrives_at, frame))
        self._underway_bytes += len(frame)
        self._readable.set()

    async def read(self) -> bytes:
        """The next frame, once it has arrived. Cancelling the call loses none. Raises LinkLostError at the end."""
        while not self._frames or self._frames[0][0] > self._loop.time():
            if not self._frames and self._end is not None:
                raise LinkLostError(self._end)
            await self._change()
        _, frame = self._frames.popleft()
        self._underway_bytes -= len(frame)
        self._writable.set()
        return frame

    def end(self, reason: str) -> None:
        """Refuse writes; frames that are under way still arrive."""
        if self._end is None:
            self._end = reason
        self._readable.set()
        self._writable.set()

    def cut(self, reason: str) -> None:
        """Refuse writes and drop the frames that are under way."""
        self._frames.clear()
        self.end(reason)

    async def _change(self) -> None:
        """Wait until a frame is written or arrives, or the queue ends."""
        self._readable.clear()
        timer = self._loop.call_at(self._frames[0][0], self._readable.set) if self._frames else None
        try:
            await self._readable.wait()
        finally:
            if timer is not None:
                timer.cancel()
