"""What every request passes: a request id, the rules for web pages of other origins, and the API key."""

import re
import secrets
from collections.abc import Callable, Sequence

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goodspeed.drafter.http.api_keys import HOLDER, ApiKeys
from goodspeed.drafter.http.errors import ApiError

REQUEST_ID = b"x-request-id"
MAX_ID_BYTES = 128
SLASHES = re.compile("/+")
OPEN = ("/health", "/metrics", "/openapi.json", "/version")
"""Paths that need no API key. A path that does not exist needs one, so that a new page is never open by omission."""


class RequestId:
    """Every response has the `x-request-id` of its request, or a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(REQUEST_ID, b"")[:MAX_ID_BYTES]
        request_id = given or f"req_{secrets.token_hex(12)}".encode()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (REQUEST_ID, request_id)]}
            await send(message)

        await self._app(scope, receive, send_with_id)


class NormalPath:
    """`//v1/models/` is `/v1/models`: clients are often given a base URL with a slash too many."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = "/" + SLASHES.sub("/", scope["path"]).strip("/")
        await self._app(scope, receive, send)


class RequestLimit:
    """Refuses requests while too many are in progress. Open pages are served all the same.

    The limit of uvicorn would count idle connections as well, and refuse without a reason or `Retry-After`.
    """

    def __init__(self, app: ASGIApp, max_requests: int) -> None:
        self._app = app
        self._max_requests = max_requests
        self._num_requests = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in OPEN:
            await self._app(scope, receive, send)
            return
        if self._num_requests >= self._max_requests:
            error = ApiError(503, f"{self._num_requests} requests are in progress already", code="unavailable")
            await JSONResponse(error.body(), 503, error.headers)(scope, receive, send)
            return
        self._num_requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._num_requests -= 1


class CorsRules:
    """Web pages of these origins may use the API. Administration and live feed stay closed to other origins."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._cors = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["x-request-id", "retry-after"],
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_closed = scope["type"] == "http" and scope["path"].startswith(("/admin", "/live"))
        await (self._app if is_closed else self._cors)(scope, receive, send)


class KeyCheck:
    """Refuses requests without an API key, except to open paths. A preflight (OPTIONS) never carries one."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, on_key: Callable[[str], None]) -> None:
        """`on_key` gets the name of the key of every admitted request."""
        self._app = app
        self._keys = keys
        self._on_key = on_key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] != "OPTIONS" and scope["path"] not in OPEN:
            holder = self._keys.holder(dict(scope["headers"]).get(b"authorization", b""))
            if holder is None:
                error = ApiError(401, "the API key is missing or wrong", code="invalid_api_key")
                await JSONResponse(error.body(), 401, {"www-authenticate": "Bearer"})(scope, receive, send)
                return
            scope[HOLDER] = holder
            self._on_key(holder.name)
        await self._app(scope, receive, send)
