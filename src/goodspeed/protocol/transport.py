"""The transport seam: one drafter's link to a verifier, as both ends see it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.protocol.messages import Message


@dataclass(frozen=True, slots=True)
class Traffic:
    """Application bytes so far, gRPC and HTTP/2 data frame headers (14 bytes a frame) counted."""

    sent_bytes: int = 0
    received_bytes: int = 0
    sent_frames: int = 0
    received_frames: int = 0


class Connection(Protocol):
    """An open link. Frames keep their order; messages sent together may share a frame."""

    @property
    def peer(self) -> str:
        """The other end, for logs."""

    @property
    def traffic(self) -> Traffic: ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Queue messages for sending. Raises LinkLostError if the link is gone or the peer has stopped reading."""

    async def receive(self) -> Sequence[Message]:
        """The next frame's messages. Raises LinkLostError at the end, ProtocolError for bytes that are no messages."""

    async def close(self) -> None:
        """End the link after what is queued is sent, or after a short deadline. Idempotent."""


Connect = Callable[[], Awaitable[Connection]]
"""How a drafter dials one verifier. Raises LinkLostError, or ProtocolError when refused."""

Accept = Callable[[Connection], Awaitable[None]]
"""How a verifier serves one link, from Hello to end; returning closes it."""
