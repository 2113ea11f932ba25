"""One HTTP exchange with a client: its request body, and the response as JSON or as server-sent events."""

import asyncio
import zlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from types import MappingProxyType

import msgspec
from starlette.types import Receive, Scope, Send

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.response_body import Json

MAX_BODY_BYTES = 16 << 20
BODY_TIMEOUT_S = 60.0
"""Time within which a client must send its body."""
READ_TIMEOUT_S = 60.0
"""A client that reads nothing for this long is dropped."""
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
JSON_HEADERS = [(b"content-type", b"application/json")]
EVENT_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class HttpExchange:
    """Read the body first. Then send `json`, or `events` and `end`; or `fail` at any time before the end.

    The sending methods raise TimeoutError if the client does not read.
    """

    def __init__(self, receive: Receive, send: Send, comment_s: float) -> None:
        """After `comment_s` without an event a comment is sent, so that no proxy takes the response for dead."""
        self._receive = receive
        self._send = send
        self._comment_s = comment_s
        self._is_streaming = False
        self._failure: Callable[[ApiError], Sequence[Json]] = _failure
        self._written_at = 0.0

    async def body(self, encoding: str = "") -> bytes:
        """The whole body, decoded from the content encoding.

        Raises ApiError if it is too long, incomplete or too slow, or if the encoding is not supported.
        """
        if encoding not in {"", "identity", "gzip"}:
            raise ApiError(415, f"content-encoding is {encoding!r}, supported are identity and gzip")
        try:
            async with asyncio.timeout(BODY_TIMEOUT_S):
                body = await self._read_body()
            return await asyncio.to_thread(_unzipped, body) if encoding == "gzip" else body
        except TimeoutError:
            raise ApiError(408, f"the body was not received within {BODY_TIMEOUT_S:g} s") from None

    async def while_connected(self, work: Coroutine[object, object, None], revoked: asyncio.Event | None) -> None:
        """Run the work, after the body; cancel it if the client disconnects, or its API key is revoked.

        Raises what the work raises, and ApiError if the key is revoked.
        """
        working = asyncio.create_task(work)
        disconnecting = asyncio.create_task(self._disconnected())
        commenting = asyncio.create_task(self._comment_in_silence())
        revoking = asyncio.create_task((revoked or asyncio.Event()).wait())
        try:
            await asyncio.wait({working, disconnecting, revoking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            disconnecting.cancel()
            revoking.cancel()
            commenting.cancel()
            working.cancel()
            await asyncio.wait({working})
        if not working.cancelled():
            working.result()
        elif revoked and revoked.is_set():
            raise ApiError(401, "the API key was revoked", code="invalid_api_key")

    async def json(self, body: Json, status: int = 200, headers: Mapping[str, str] = NO_HEADERS) -> None:
        """The whole response."""
        further = [(name.encode(), value.encode()) for name, value in headers.items()]
        await self._start(status, [*JSON_HEADERS, *further])
        await self._write(msgspec.json.encode(body), is_last=True)

    async def events(self, bodies: Sequence[Json]) -> None:
        """The next server-sent events; without any, the start of the response alone."""
        if not self._is_streaming:
            self._is_streaming = True
            await self._start(200, EVENT_HEADERS)
        await self._write(b"".join(_event(body) for body in bodies))

    async def end(self, *, has_done_event: bool = True) -> None:
        """The end of the events."""
        self._is_streaming = False
        await self._write(b"data: [DONE]\n\n" if has_done_event else b"", is_last=True)

    def fail_with(self, failure: Callable[[ApiError], Sequence[Json]]) -> None:
        """What tells of an error after the first event; else it has the form of OpenAI's errors."""
        self._failure = failure

    async def fail(self, error: ApiError) -> None:
        """An error in OpenAI's form: as the response, or as its last event."""
        if self._is_streaming:
            await self._write(b"".join(_event(body) for body in self._failure(error)), is_last=True)
        else:
            await self.json(error.body(), error.status, error.headers)

    async def _read_body(self) -> bytes:
        parts: list[bytes] = []
        num_bytes = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ApiError(400, "the body is incomplete")
            parts.append(message.get("body", b""))
            num_bytes += len(parts[-1])
            if num_bytes > MAX_BODY_BYTES:
                raise ApiError(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
            if not message.get("more_body", False):
                return b"".join(parts)

    async def _disconnected(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def _comment_in_silence(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            silent_s = clock() - self._written_at if self._is_streaming else 0.0
            if silent_s >= self._comment_s:
                await self._write(b": the answer goes on\n\n")
                silent_s = 0.0
            await asyncio.sleep(self._comment_s - silent_s)

    async def _start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def _write(self, data: bytes, *, is_last: bool = False) -> None:
        self._written_at = asyncio.get_running_loop().time()
        async with asyncio.timeout(READ_TIMEOUT_S):
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})


def _event(body: Json) -> bytes:
    """A server-sent event; it has a name if its body has a type."""
    kind = body.get("type")
    name = b"event: %b\n" % kind.encode() if isinstance(kind, str) else b""
    return b"%bdata: %b\n\n" % (name, msgspec.json.encode(body))


def _failure(error: ApiError) -> Sequence[Json]:
    return [error.body()]


def content_encoding(scope: Scope) -> str:
    """The request's content encoding in lower case; empty if it has none."""
    return str(dict(scope["headers"]).get(b"content-encoding", b"").decode("latin-1").strip().lower())


def _unzipped(body: bytes) -> bytes:
    """Raises ApiError for a body that is no gzip file, is incomplete, or is too long."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        unzipped = unzip.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise ApiError(400, f"the body is not gzip: {error}") from error
    if len(unzipped) > MAX_BODY_BYTES:
        raise ApiError(413, f"the body is longer than {MAX_BODY_BYTES} bytes")
    if not unzip.eof:
        raise ApiError(400, "the body is incomplete")
    return unzipped
