"""The Connection of all transports: messages over a pipe of frames, with a bounded queue and a coalescing writer."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message
from goodspeed.protocol.size import wire_bytes
from goodspeed.protocol.transport import LinkTraffic

COALESCED_BYTES = 1 << 14
"""Messages share a frame up to this size, so that a frame needs one DATA header and holds at most 4,096 messages."""


Decode = Callable[[bytes], Sequence[Message | ProtocolError]]
"""decode_drafter_frame at the verifier, decode_verifier_frame at the drafter."""


class Pipe(Protocol):
    """Carries frames as bytes, in order. One reader, one writer."""

    async def write(self, frame: bytes) -> None:
        """Returns when there is room for the next frame. Raises LinkLostError."""

    async def read(self) -> bytes:
        """The next frame; cancelling loses none. Raises LinkLostError at the end."""

    async def finish(self) -> None:
        """No more writes: the peer reads to the end of what was written."""

    def abort(self, reason: str) -> None:
        """Give up both directions at once: pending and later calls raise LinkLostError(reason). Idempotent."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """How much a connection holds for a peer that reads slowly, and for how long."""

    max_bytes: int = 1 << 20
    stall_s: float = 10.0
    """A peer that lets no frame through for so long has stopped reading; the link is cut."""
    close_s: float = 2.0
    """Time that close() gives to what is queued."""


DEFAULT_LIMITS = QueueLimits()


class FramedConnection:
    """Connection over a pipe. Make it inside a running event loop: its writer starts at once."""

    def __init__(self, pipe: Pipe, decode: Decode, peer: str, limits: QueueLimits = DEFAULT_LIMITS) -> None:
        self._pipe = pipe
        self._decode = decode
        self._peer = peer
        self._limits = limits
        self._traffic = LinkTraffic()
        self._queue: deque[bytes] = deque()  # encoded messages
        self._queued_bytes = 0
        self._lost: str | None = None
        self._is_closing = False
        self._wanted = asyncio.Event()  # set: the writer has something to do
        self._has_room = asyncio.Event()  # set: the queue is within its limit, or the link is lost
        self._errors: deque[ProtocolError] = deque()  # of single streams, to be raised by receive()
        self._writer = asyncio.create_task(self._write_frames(), name=f"writer to {peer}")

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def traffic(self) -> LinkTraffic:
        return self._traffic

    async def send(self, messages: Sequence[Message]) -> None:
        self._check_open()
        for message in messages:
            encoded = encode_message(message)
            self._queue.append(encoded)
            self._queued_bytes += len(encoded)
            self._wanted.set()
        while self._queued_bytes > self._limits.max_bytes and self._lost is None:
            self._has_room.clear()
            await self._has_room.wait()
        if self._lost is not None:
            raise LinkLostError(self._lost)

    async def receive(self) -> Sequence[Message]:
        while not self._errors:
            frame = await self._pipe.read()
            traffic = self._traffic
            self._traffic = replace(
                traffic,
                received_bytes=traffic.received_bytes + wire_bytes(len(frame)),
                received_frames=traffic.received_frames + 1,
            )
            if messages := self._split(self._decode(frame)):
                return messages
        raise self._errors.popleft()

    async def close(self) -> None:
        self._is_closing = True
        self._wanted.set()
        try:
            await asyncio.wait([self._writer], timeout=self._limits.close_s)
        finally:
            self._lose(f"the link to {self._peer} is closed")

    def _check_open(self) -> None:
        if self._lost is not None:
            raise LinkLostError(self._lost)
        if self._is_closing:
            raise LinkLostError(f"the link to {self._peer} is closed")

    def _split(self, decoded: Sequence[Message | ProtocolError]) -> Sequence[Message]:
        self._errors.extend(item for item in decoded if isinstance(item, ProtocolError))
        return [item for item in decoded if not isinstance(item, ProtocolError)]

    async def _write_frames(self) -> None:
        try:
            while await self._next_work():
                frame = self._next_frame()
                async with asyncio.timeout(self._limits.stall_s):
                    await self._pipe.write(frame)
            await self._pipe.finish()
        except TimeoutError:
            self._lose(f"{self._peer} has not read for {self._limits.stall_s:g} s")
        except LinkLostError as error:
            self._lose(str(error))

    async def _next_work(self) -> bool:
        """Wait for something to write; False once closing has emptied the queue."""
        while not self._queue:
            if self._is_closing:
                return False
            self._wanted.clear()
            await self._wanted.wait()
        return True

    def _next_frame(self) -> bytes:
        parts = [self._queue.popleft()]
        size = len(parts[0])
        while self._queue and size + len(self._queue[0]) <= COALESCED_BYTES:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        self._queued_bytes -= size
        if self._queued_bytes <= self._limits.max_bytes:
            self._has_room.set()
        self._traffic = replace(
            self._traffic,
            sent_bytes=self._traffic.sent_bytes + wire_bytes(size),
            sent_frames=self._traffic.sent_frames + 1,
        )
        return b"".join(parts)

    def _lose(self, reason: str) -> None:
        if self._lost is None:
            self._lost = reason
            self._queue.clear()
            self._queued_bytes = 0
            self._has_room.set()
            self._pipe.abort(reason)
            self._writer.cancel()
