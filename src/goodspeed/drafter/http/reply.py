"""One HTTP response on its way to a client: JSON, or server-sent events."""

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.types import Send

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.response_body import Json

STALL_S = 60.0
"""A client that reads nothing for so long is given up."""
JSON_HEADERS = [(b"content-type", b"application/json")]
EVENT_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Reply:
    """Call json, or events and then end; or fail at any time before the end. Each raises TimeoutError for a stall."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._is_streaming = False

    async def json(self, body: Json, status: int = 200) -> None:
        """The whole response."""
        await self._start(status, JSON_HEADERS)
        await self._write(msgspec.json.encode(body), is_last=True)

    async def events(self, bodies: Sequence[Json]) -> None:
        """The next server-sent events."""
        if not self._is_streaming:
            self._is_streaming = True
            await self._start(200, EVENT_HEADERS)
        await self._write(b"".join(b"data: %b\n\n" % msgspec.json.encode(body) for body in bodies))

    async def end(self) -> None:
        """The end of the events."""
        await self._write(b"data: [DONE]\n\n", is_last=True)

    async def fail(self, error: ApiError) -> None:
        """An error in OpenAI's form, as the response or as its last event."""
        if self._is_streaming:
            await self._write(b"data: %b\n\n" % msgspec.json.encode(error.body()), is_last=True)
        else:
            await self.json(error.body(), error.status)

    async def _start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        async with asyncio.timeout(STALL_S):
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})
