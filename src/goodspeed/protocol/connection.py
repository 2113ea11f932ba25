"""The connection that all transports share: messages over a pipe of frames, with a bounded send queue."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from goodspeed.errors import LinkLostError, ProtocolError
from goodspeed.protocol.codec import encode_message
from goodspeed.protocol.messages import Message
from goodspeed.protocol.size import wire_bytes
from goodspeed.protocol.transport import ANYONE, LinkTraffic, PeerIdentity

COALESCED_BYTES = 1 << 14
"""Messages share a frame up to this size: then a frame needs one DATA header and holds at most 4,096 messages."""


Decode = Callable[[bytes], Sequence[Message | ProtocolError]]
"""codec.decode_drafter_frame at the verifier, codec.decode_verifier_frame at the drafter."""


class Pipe(Protocol):
    """Carries frames as bytes, in order, for one reader and one writer."""

    async def write(self, frame: bytes) -> None:
        """Return when the pipe can take the next frame. Raises LinkLostError."""

    async def read(self) -> bytes:
        """The next frame. Cancelling the call loses none. Raises LinkLostError at the end."""

    async def finish(self) -> None:
        """Declare that no more is written: the peer still reads all that was written."""

    def abort(self, reason: str) -> None:
        """End both directions at once: pending and later calls raise LinkLostError(reason). Idempotent."""


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Limits of what a connection holds for a peer that reads slowly."""

    max_bytes: int = 1 << 20
    """send() waits while more than this is queued."""
    stall_s: float = 10.0
    """Longest time that the peer may take to accept a frame; then the link is cut."""
    close_s: float = 2.0
    """Time in which close() may send what is queued."""


DEFAULT_LIMITS = QueueLimits()


class FramedConnection:
    """A Connection over a pipe. Create it inside a running event loop: it starts a task that writes the queue."""

    def __init__(
        self,
        pipe: Pipe,
        decode: Decode,
        peer: str,
        limits: QueueLimits = DEFAULT_LIMITS,
        identity: PeerIdentity = ANYONE,
    ) -> None:
        self._pipe = pipe
        self._decode = decode
        self._peer = peer
        self._identity = identity
        self._limits = limits
        self._traffic = LinkTraffic()
        self._queue: deque[bytes] = deque()  # encoded messages to send
        self._queued_bytes = 0
        self._lost: str | None = None  # the reason, once the link is lost
        self._is_closing = False
        self._has_work = asyncio.Event()  # for the writer
        self._has_space = asyncio.Event()  # the queue is within its limit, or the link is lost
        self._errors: deque[ProtocolError] = deque()  # errors of single streams, which receive() raises
        self._writer = asyncio.create_task(self._write_frames(), name=f"writer to {peer}")

    @property
    def peer(self) -> str:
        return self._peer

    @property
    def identity(self) -> PeerIdentity:
        return self._identity

    @property
    def traffic(self) -> LinkTraffic:
        return self._traffic

    async def send(self, messages: Sequence[Message]) -> None:
        self._check_open()
        for message in messages:
            encoded = encode_message(message)
            self._queue.append(encoded)
            self._queued_bytes += len(encoded)
            self._has_work.set()
        while self._queued_bytes > self._limits.max_bytes and self._lost is None:
            self._has_space.clear()
            await self._has_space.wait()
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
        self._has_work.set()
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
        """Wait until there is something to write. False: the connection is closing and the queue is empty."""
        while not self._queue:
            if self._is_closing:
                return False
            self._has_work.clear()
            await self._has_work.wait()
        return True

    def _next_frame(self) -> bytes:
        parts = [self._queue.popleft()]
        size = len(parts[0])
        while self._queue and size + len(self._queue[0]) <= COALESCED_BYTES:
            parts.append(self._queue.popleft())
            size += len(parts[-1])
        self._queued_bytes -= size
        if self._queued_bytes <= self._limits.max_bytes:
            self._has_space.set()
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
            self._has_space.set()
            self._pipe.abort(reason)
            self._writer.cancel()
