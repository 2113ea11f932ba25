"""The web application of the live page."""

import base64
import binascii
import hmac
from collections.abc import AsyncIterator

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goodspeed.dashboard.race import RaceRequest, race
from goodspeed.dashboard.reader import Event, ServerReader
from goodspeed.drafter.http.access import check_loopback
from goodspeed.drafter.http.errors import ApiError

MAX_RACE_TOKENS = 1024
MAX_RACE_BYTES = 1 << 16
HEADERS = {
    "cache-control": "no-cache",
    "x-accel-buffering": "no",
}
PAGE_HEADERS = [
    (b"content-security-policy", b"default-src 'self'; style-src 'self'; frame-ancestors 'none'; base-uri 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
]


def make_app(reader: ServerReader, client: httpx.AsyncClient, password: str) -> ASGIApp:
    """The page, its events and its races. Without a password it is open to this machine alone."""
    pages = _Pages(reader, client)
    routes = [
        Route("/events", pages.events),
        Route("/race", pages.race, methods=["POST"]),
        Mount("/", StaticFiles(packages=[("goodspeed.dashboard", "page")], html=True)),
    ]
    return _Guard(Starlette(routes=routes, exception_handlers={ApiError: _on_api_error}), password)


class _Pages:
    def __init__(self, reader: ServerReader, client: httpx.AsyncClient) -> None:
        self._reader = reader
        self._client = client

    async def events(self, _request: Request) -> Response:
        """Server-sent events: those of the last minute, then those to come."""
        return StreamingResponse(self._events(), media_type="text/event-stream", headers=HEADERS)

    async def _events(self) -> AsyncIterator[bytes]:
        with self._reader.view() as queue:
            for refresh in list(self._reader.kept):
                yield _event(refresh)
            while (event := await queue.get()) is not None:
                yield _event(event)

    async def race(self, request: Request) -> Response:
        """The events of a race, one JSON object per line."""
        wanted = await _race_request(request)
        url = self._reader.drafter_urls.get(wanted.client)
        if url is None:
            raise ApiError(404, f"the drafter of {wanted.client!r} is not known to this page", "client")
        return StreamingResponse(self._lines(url, wanted), media_type="application/jsonl", headers=HEADERS)

    async def _lines(self, url: str, wanted: RaceRequest) -> AsyncIterator[bytes]:
        async for event in race(self._client, url, wanted):
            yield msgspec.json.encode(event) + b"\n"


async def _race_request(request: Request) -> RaceRequest:
    """Raises ApiError. A web page of another origin cannot send this content type without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ApiError(415, "the body must have the content type application/json")
    body = await request.body()
    if len(body) > MAX_RACE_BYTES:
        raise ApiError(413, f"the body has {len(body)} bytes, expected at most {MAX_RACE_BYTES}")
    try:
        wanted = msgspec.json.decode(body, type=RaceRequest)
    except msgspec.MsgspecError as error:
        raise ApiError(400, f"the body is no request for a race: {error}") from error
    if not 1 <= wanted.max_tokens <= MAX_RACE_TOKENS:
        raise ApiError(400, f"max_tokens is {wanted.max_tokens}, expected 1 to {MAX_RACE_TOKENS}", "max_tokens")
    if not wanted.prompt.strip():
        raise ApiError(400, "prompt is empty", "prompt")
    return wanted


class _Guard:
    """Checks the password (HTTP basic authentication), or that the request comes from this machine."""

    def __init__(self, app: ASGIApp, password: str) -> None:
        self._app = app
        self._password = password

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *PAGE_HEADERS]}
            await send(message)

        refusal = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _refusal(self, request: Request) -> Response | None:
        if self._password:
            if hmac.compare_digest(_password_of(request), self._password.encode()):
                return None
            return Response("a password is needed", 401, {"www-authenticate": 'Basic realm="GoodSpeed"'})
        try:
            check_loopback(request)
        except ApiError as error:
            return JSONResponse(error.body(), error.status)
        return None


def _password_of(request: Request) -> bytes:
    """The password of HTTP basic authentication, with any user name; empty without one."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded, validate=True).partition(b":")[2]
    except binascii.Error:
        return b""


def _event(event: Event) -> bytes:
    return b"data: %b\n\n" % msgspec.json.encode(event)


async def _on_api_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return JSONResponse(error.body(), error.status)
