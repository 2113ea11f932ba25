"""Dialling a verifier: from its address to a session."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.errors import ErrorCode, LinkLostError, ProtocolError
from goodspeed.protocol.messages import PROTOCOL_VERSION, Error, Hello, Message, Refused, Welcome
from goodspeed.protocol.transport import Connect, Connection

GREETING_S = 10.0
"""Time that a verifier has for its Welcome."""


@dataclass(frozen=True, slots=True)
class Verifier:
    """One that may be dialled."""

    address: str
    connect: Connect


@dataclass(frozen=True, slots=True)
class Uplink:
    """A session with a verifier."""

    connection: Connection
    welcome: Welcome
    rest: Sequence[Message]
    """What came together with the Welcome."""


async def dial(verifier: Verifier, hello: Hello) -> Uplink:
    """Raises LinkLostError if the verifier cannot be reached or says nothing, ProtocolError if it refuses us."""
    connection = await verifier.connect()
    try:
        async with asyncio.timeout(GREETING_S):
            await connection.send((hello,))
            first, *rest = await connection.receive()
        return Uplink(connection, _welcome(first), rest)
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
