"""The interface of transports: one drafter's connection to a verifier, for either end."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.protocol.messages import Message


@dataclass(frozen=True, slots=True)
class LinkTraffic:
    """Bytes and frames of a connection so far. Bytes include gRPC and HTTP/2 DATA headers, 14 bytes per frame."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_frames: int = 0
    received_frames: int = 0

    def __add__(self, other: "LinkTraffic") -> "LinkTraffic":
        return LinkTraffic(
            self.sent_bytes + other.sent_bytes,
            self.received_bytes + other.received_bytes,
            self.sent_frames + other.sent_frames,
            self.received_frames + other.received_frames,
        )


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What a peer has proved of itself to the transport."""

    names: frozenset[str] | None = None
    """Names that belong to the peer, which it may use in its Hello; None: any."""
    revoked: asyncio.Event | None = None
    """Set once the peer's credential is withdrawn; None: that cannot happen."""


ANYONE = PeerIdentity()


class Connection(Protocol):
    """An open connection. Messages keep their order; those that are sent together may share a frame."""

    @property
    def peer(self) -> str:
        """Name of the other end, for logs."""

    @property
    def identity(self) -> PeerIdentity: ...

    @property
    def traffic(self) -> LinkTraffic: ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Queue messages for sending. Waits only while the queue is full, and no longer than its deadline.

        Raises LinkLostError if the link is lost or the peer has stopped reading, and ProtocolError (BAD_REQUEST) for a
        message that is too long to send; the messages before it are sent.
        """

    async def receive(self) -> Sequence[Message]:
        """The next messages, in the order in which they were sent. Cancelling the call loses none.

        Raises LinkLostError at the end, and ProtocolError for bytes that are no messages; the connection stays open
        then. If the error has a stream, only that message is dropped, and the next call returns the rest of its frame.
        If it has none, the caller should close the connection.
        """

    async def close(self) -> None:
        """Send what is queued, for a short time at most, and close the connection. Idempotent."""


Connect = Callable[[], Awaitable[Connection]]
"""Connects a drafter to one verifier. Raises LinkLostError, or ProtocolError if the verifier refuses it."""

Accept = Callable[[Connection], Awaitable[None]]
"""Serves one connection at the verifier, from Hello to the end; the connection is closed when it returns."""
