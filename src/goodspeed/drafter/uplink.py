"""The way to one verifier: from its address to a session, and what is to be sent there."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Error, FromDrafter, Hello, Message, Refused, Welcome
from goodspeed.protocol.transport import Connect, Connection, LinkTraffic

log = logging.getLogger(__name__)

GREETING_S = 10.0
"""Time that a verifier has for its Welcome."""


@dataclass(frozen=True, slots=True)
class VerifierEndpoint:
    """One that may be dialled."""

    address: str
    connect: Connect


@dataclass(frozen=True, slots=True)
class VerifierSession:
    """A session with a verifier."""

    connection: Connection
    welcome: Welcome
    rest: Sequence[Message]
    """What came together with the Welcome."""


class Uplink:
    """The way to one verifier as the host holds it, whether or not there is a link."""

    def __init__(self, verifier: VerifierEndpoint) -> None:
        self.verifier = verifier
        self.connection: Connection | None = None
        self.outbox: deque[FromDrafter] = deque()
        self.hang_up: str | None = None
        """Why the link is to be closed."""
        self._past_traffic = LinkTraffic()  # of links that are gone
        self._trouble: str | None = None  # why it was lost the last time; told once

    @property
    def traffic(self) -> LinkTraffic:
        """Bytes and frames so far."""
        return self._past_traffic + self.connection.traffic if self.connection else self._past_traffic

    async def dial(self, hello: Hello) -> VerifierSession:
        """Raises as `dial` does."""
        session = await dial(self.verifier, hello)
        self.connection, self._trouble = session.connection, None
        ids = {"verifier": session.welcome.verifier, "address": self.verifier.address, "model": session.welcome.model}
        log.info("verifier found", extra={"ids": ids})
        return session

    def drop(self, why: str) -> Connection | None:
        """The link is lost, or of no use any more: it is to be closed by the caller, if there was one."""
        level = logging.DEBUG if self._trouble == why else logging.WARNING
        log.log(level, "verifier lost", extra={"ids": {"address": self.verifier.address, "why": why}})
        self._trouble = why
        self.outbox.clear()
        self.hang_up = None
        self._past_traffic, connection, self.connection = self.traffic, self.connection, None
        return connection


async def dial(verifier: VerifierEndpoint, hello: Hello) -> VerifierSession:
    """Raises LinkLostError if the verifier cannot be reached or says nothing, ProtocolError if it refuses us."""
    connection = await verifier.connect()
    try:
        async with asyncio.timeout(GREETING_S):
            await connection.send((hello,))
            first, *rest = await connection.receive()
        return VerifierSession(connection, _welcome(first), rest)
    except TimeoutError:
        await connection.close()
        raise LinkLostError(f"no Welcome within {GREETING_S:g} s") from None
    except BaseException:
        await connection.close()
        raise


def _welcome(first: Message) -> Welcome:
    if isinstance(first, Refused | Error):
        raise ProtocolError(first.code, f"refused: {first.code.name}: {first.reason}")
    if not isinstance(first, Welcome):
        raise ProtocolError(ErrorCode.OUT_OF_ORDER, f"{type(first).__name__} in place of a Welcome")
    if first.version != PROTOCOL_VERSION:
        raise ProtocolError(ErrorCode.VERSION, f"it speaks version {first.version}, expected {PROTOCOL_VERSION}")
    return first
