"""The HTTP application: OpenAI's endpoints, health, metrics and administration."""

import hmac

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from goodspeed.drafter.http.admin import AdminPages
from goodspeed.drafter.http.endpoint import CHAT, COMPLETION, GenerationEndpoint
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.service import ApiService
from goodspeed.errors import GoodSpeedError
from goodspeed.protocol.messages import Welcome


def make_app(service: ApiService) -> ASGIApp:
    """The application of one drafter."""
    pages = _Pages(service)
    routes = [
        Route("/v1/chat/completions", GenerationEndpoint(CHAT, service), methods=["POST"]),
        Route("/v1/completions", GenerationEndpoint(COMPLETION, service), methods=["POST"]),
        Route("/v1/models", pages.models),
        Route("/v1/models/{model:path}", pages.model),
        Route("/health", pages.health),
        Route("/metrics", pages.metrics),
    ]
    if service.draft:
        admin = AdminPages(service.draft, has_key=bool(service.api_key))
        routes.append(Route("/admin/draft", admin.draft, methods=["GET", "POST"]))
    handlers = {HTTPException: _on_http_error, GoodSpeedError: _on_goodspeed_error}
    app = Starlette(routes=routes, exception_handlers=handlers)
    return _KeyCheck(app, service.api_key) if service.api_key else app


class _Pages:
    """The pages that do not generate text."""

    def __init__(self, service: ApiService) -> None:
        self._service = service

    async def models(self, _request: Request) -> Response:
        welcome = await self._service.server.meet(self._service.meet_s)
        return JSONResponse({"object": "list", "data": [_model(welcome)]})

    async def model(self, request: Request) -> Response:
        return JSONResponse(_model(await self._service.welcome_of(request.path_params["model"])))

    async def health(self, _request: Request) -> Response:
        server = self._service.server
        if server.is_up and server.welcome:
            return JSONResponse({"status": "ok", "verifier": server.welcome.verifier})
        return JSONResponse({"status": "no verifier", "reason": server.lost_reason}, 503)

    async def metrics(self, _request: Request) -> Response:
        text = generate_latest(self._service.server.metrics.registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


class _KeyCheck:
    """Refuses requests to /v1 and /admin that do not carry the API key."""

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app = app
        self._expected = f"Bearer {api_key}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(("/v1/", "/admin/")) and not self._has_key(scope):
            error = ApiError(401, "the API key is missing or wrong", code="invalid_api_key")
            await JSONResponse(error.body(), 401)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _has_key(self, scope: Scope) -> bool:
        header = dict(scope["headers"]).get(b"authorization", b"")
        return hmac.compare_digest(header, self._expected)


def _model(welcome: Welcome) -> dict[str, object]:
    return {"id": welcome.model, "object": "model", "created": 0, "owned_by": "goodspeed"}


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(response.body(), error.status_code, error.headers)


async def _on_goodspeed_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GoodSpeedError)
    response = api_error(error)
    return JSONResponse(response.body(), response.status)
