"""The transport seam: one drafter's link to a verifier, as both ends see it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.protocol.messages import Message


@dataclass(frozen=True, slots=True)
class LinkTraffic:
    """Application bytes so far, gRPC and HTTP/2 data frame headers (14 bytes a frame) counted."""

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


class Connection(Protocol):
    """An open link. Frames keep their order; messages sent together may share a frame."""

    @property
    def peer(self) -> str:
        """The other end, for logs."""

    @property
    def traffic(self) -> LinkTraffic: ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Queue messages for sending; waits only while the queue is full, and no longer than its deadline.

        Raises LinkLostError if the link is gone or the peer has stopped reading, ProtocolError (BAD_REQUEST) for a
        message that is too long to send (the messages before it are sent).
        """

    async def receive(self) -> Sequence[Message]:
        """The next messages, in the order in which they were sent. Cancelling it loses none.

        Raises LinkLostError at the end, and ProtocolError for bytes that are no messages. The link stays open then:
        without `stream` the peer is beyond repair; with it, that one message is dropped, and what came with it is
        received as usual.
        """

    async def close(self) -> None:
        """End the link after what is queued is sent, or after a short deadline. Idempotent."""


Connect = Callable[[], Awaitable[Connection]]
"""How a drafter dials one verifier. Raises LinkLostError, or ProtocolError when refused."""

Accept = Callable[[Connection], Awaitable[None]]
"""How a verifier serves one link, from Hello to end; returning closes it."""
