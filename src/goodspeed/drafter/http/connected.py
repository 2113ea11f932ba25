"""Work for a client, for as long as it is there; and bodies of a reasonable size."""

import asyncio
from collections.abc import Coroutine

from starlette.types import Receive

from goodspeed.drafter.http.errors import ApiError

MAX_BODY_BYTES = 16 << 20
BODY_S = 60.0
"""Time that a client has for its body."""


async def read_body(receive: Receive) -> bytes:
    """Raises ApiError for a body that is too long, breaks off, or takes too long."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _read_parts(receive)
    except TimeoutError:
        raise ApiError(408, f"the body has not come within {BODY_S:g} s") from None


async def _read_parts(receive: Receive) -> bytes:
    parts: list[bytes] = []
    num_bytes = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, "the body breaks off")
        parts.append(message.get("body", b""))
        num_bytes += len(parts[-1])
        if num_bytes > MAX_BODY_BYTES:
            raise ApiError(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)


async def while_connected(receive: Receive, work: Coroutine[object, object, None]) -> None:
    """Do the work after the body was read; cancel it when the client disconnects. Raises what the work raises."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        leaving.cancel()
        working.cancel()
        await asyncio.wait({working})
    if not working.cancelled():
        working.result()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
