"""A lane: frames under way in one direction, in order, bounded, with an end; over an emulated link if one is given."""

import asyncio
from collections import deque

from goodspeed.errors import LinkLostError
from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.protocol.size import wire_bytes

MAX_UNDERWAY_BYTES = 1 << 18
"""What may be under way before a writer waits, like a socket's buffer and the link's own contents."""


class SendQueue:
    """One writer, one reader. Times are the event loop's, whose timers are late by up to 1 ms."""

    def __init__(self, link: LinkShaper | None = None) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._frames: deque[tuple[float, bytes]] = deque()  # when it arrives, the frame
        self._underway_bytes = 0
        self._end: str | None = None
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Send a frame; waits while the lane is full. Raises LinkLostError after its end."""
        while self._underway_bytes > MAX_UNDERWAY_BYTES and self._end is None:
            self._writable.clear()
            await self._writable.wait()
        if self._end is not None:
            raise LinkLostError(self._end)
        now = self._loop.time()
        arrives_at = self._link.delivery(wire_bytes(len(frame)), now) if self._link else now
        self._frames.append((arrives_at, frame))
        self._underway_bytes += len(frame)
        self._readable.set()

    async def read(self) -> bytes:
        """The next frame, once it has arrived; cancelling loses none. Raises LinkLostError at the end."""
        while not self._frames or self._frames[0][0] > self._loop.time():
            if not self._frames and self._end is not None:
                raise LinkLostError(self._end)
            await self._change()
        _, frame = self._frames.popleft()
        self._underway_bytes -= len(frame)
        self._writable.set()
        return frame

    def end(self, reason: str) -> None:
        """No more writes; what was written still arrives."""
        if self._end is None:
            self._end = reason
        self._readable.set()
        self._writable.set()

    def cut(self, reason: str) -> None:
        """No more writes, and nothing more arrives."""
        self._frames.clear()
        self.end(reason)

    async def _change(self) -> None:
        """Wait until something was written or ended, or the first frame has arrived."""
        self._readable.clear()
        timer = self._loop.call_at(self._frames[0][0], self._readable.set) if self._frames else None
        try:
            await self._readable.wait()
        finally:
            if timer is not None:
                timer.cancel()
