"""The host's connection to one verifier: from its address to a session, and what is to be sent there."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Error, FromDrafter, Hello, Message, Refused, Welcome
from goodspeed.protocol.transport import Connect, Connection, LinkTraffic

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
"""Time within which a verifier must send its Welcome."""


@dataclass(frozen=True, slots=True)
class VerifierEndpoint:
    """An address for people, and how to connect to it."""

    address: str
    connect: Connect


@dataclass(frozen=True, slots=True)
class VerifierSession:
    """A connection whose handshake is complete."""

    connection: Connection
    welcome: Welcome
    early_messages: Sequence[Message]
    """Messages that came in one frame with the Welcome."""


class Uplink:
    """One verifier of the host's list, connected or not."""

    def __init__(self, verifier: VerifierEndpoint) -> None:
        self.verifier = verifier
        self.connection: Connection | None = None
        self.queue: deque[FromDrafter] = deque()
        """Messages to send."""
        self.disconnect_reason: str | None = None
        """Set: the connection must be closed."""
        self._past_traffic = LinkTraffic()  # of connections that have ended
        self._last_loss: str | None = None  # why the connection was lost; the same reason is logged once

    @property
    def is_pending(self) -> bool:
        """There is something to send, or a connection to close."""
        return bool(self.queue or self.disconnect_reason)

    @property
    def traffic(self) -> LinkTraffic:
        """Bytes and frames so far."""
        return self._past_traffic + self.connection.traffic if self.connection else self._past_traffic

    async def dial(self, hello: Hello) -> VerifierSession:
        """Connect. Raises as the function `dial` does."""
        session = await dial(self.verifier, hello)
        self.connection, self._last_loss = session.connection, None
        ids = {"verifier": session.welcome.verifier, "address": self.verifier.address, "model": session.welcome.model}
        log.info("verifier connected", extra={"ids": ids})
        return session

    def drop(self, reason: str) -> Connection | None:
        """Forget a connection that is lost or no longer of use. The caller closes the one that is returned, if any."""
        level = logging.DEBUG if self._last_loss == reason else logging.WARNING
        log.log(level, "verifier lost", extra={"ids": {"address": self.verifier.address, "reason": reason}})
        self._last_loss = reason
        self.queue.clear()
        self.disconnect_reason = None
        self._past_traffic, connection, self.connection = self.traffic, self.connection, None
        return connection


async def dial(verifier: VerifierEndpoint, hello: Hello) -> VerifierSession:
    """Connect and shake hands.

    Raises LinkLostError if the verifier cannot be reached or does not answer, ProtocolError if it refuses the drafter.
    """
    connection = await verifier.connect()
    try:
        async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
            await connection.send((hello,))
            first, *rest = await connection.receive()
        return VerifierSession(connection, _welcome(first), rest)
    except TimeoutError:
        await connection.close()
        raise LinkLostError(f"no Welcome within {HANDSHAKE_TIMEOUT_S:g} s") from None
    except BaseException:
        await connection.close()
        raise


def _welcome(first: Message) -> Welcome:
    if isinstance(first, Refused | Error):
        raise ProtocolError(first.code, f"refused: {first.code.name}: {first.reason}")
    if not isinstance(first, Welcome):
        raise ProtocolError(ErrorCode.OUT_OF_ORDER, f"received {type(first).__name__}, expected Welcome")
    if first.version != PROTOCOL_VERSION:
        raise ProtocolError(
            ErrorCode.VERSION, f"the verifier has protocol version {first.version}, this drafter has {PROTOCOL_VERSION}"
        )
    return first
