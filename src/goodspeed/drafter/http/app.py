"""The HTTP application: OpenAI's endpoints, health, metrics and administration."""

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

import goodspeed
from goodspeed.drafter.http.admin import AdminPages
from goodspeed.drafter.http.api_keys import ApiKeys
from goodspeed.drafter.http.endpoint import CHAT, COMPLETION, RESPONSE, GenerationEndpoint
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.live import LivePage
from goodspeed.drafter.http.middleware import CorsRules, KeyCheck, NormalPath, RequestId, RequestLimit
from goodspeed.drafter.http.openapi import OpenApiPage
from goodspeed.drafter.http.request_counts import RequestCounts
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.tokenization import TokenizationPages
from goodspeed.errors import GoodSpeedError
from goodspeed.protocol.messages import Welcome


def make_app(service: ApiService) -> ASGIApp:
    """The application of one drafter."""
    pages, tokenization = _Pages(service), TokenizationPages(service)
    keys = ApiKeys(service.api_key, service.api_credentials)
    routes = [
        Route("/v1/chat/completions", GenerationEndpoint(CHAT, service), methods=["POST"]),
        Route("/v1/completions", GenerationEndpoint(COMPLETION, service), methods=["POST"]),
        Route("/v1/responses", GenerationEndpoint(RESPONSE, service), methods=["POST"]),
        Route("/v1/models", pages.models),
        Route("/v1/models/{model:path}", pages.model),
        Route("/tokenize", tokenization.tokenize, methods=["POST"]),
        Route("/detokenize", tokenization.detokenize, methods=["POST"]),
        Route("/version", pages.version),
        Route("/health", pages.health),
        Route("/metrics", pages.metrics),
    ]
    if service.draft:
        admin = AdminPages(service.draft)
        routes.append(Route("/admin/draft", admin.draft, methods=["GET", "POST"]))
    if service.live_feed:
        live = LivePage(service.live_feed, service.comment_s)
        routes.append(Route("/live", live.feed))
    routes.append(Route("/openapi.json", OpenApiPage(routes, needs_key=keys.is_required).page))
    handlers = {HTTPException: _on_http_error, GoodSpeedError: _on_goodspeed_error}
    starlette = Starlette(routes=routes, exception_handlers=handlers)
    starlette.router.redirect_slashes = False  # NormalPath: a redirect behind a TLS proxy would lead to plain HTTP
    app: ASGIApp = starlette
    metrics = service.server.metrics.http
    if keys.is_required:
        app = KeyCheck(app, keys, metrics.on_key)
    app = RequestLimit(app, service.max_requests)
    if service.cors_origins:
        app = CorsRules(app, service.cors_origins)
    return RequestId(NormalPath(RequestCounts(app, routes, metrics)))


class _Pages:
    """The pages that do not generate text."""

    def __init__(self, service: ApiService) -> None:
        self._service = service

    async def models(self, _request: Request) -> Response:
        welcome = await self._service.server.meet(self._service.meet_s)
        return JSONResponse({"object": "list", "data": [_model(welcome)]})

    async def model(self, request: Request) -> Response:
        return JSONResponse(_model(await self._service.welcome_of(request.path_params["model"])))

    async def version(self, _request: Request) -> Response:
        return JSONResponse({"version": goodspeed.__version__})

    async def health(self, _request: Request) -> Response:
        server = self._service.server
        if server.is_up and server.welcome:
            draft = self._service.draft
            failed = {"draft": "failed"} if draft and draft.has_failed else {}
            names = {"drafter": server.name, "verifier": server.welcome.verifier}
            return JSONResponse({"status": "ok", **names, **failed})
        return JSONResponse({"status": "no verifier", "reason": server.lost_reason}, 503)

    async def metrics(self, request: Request) -> Response:
        """Of the metrics named by `name[]`, as in Prometheus' own servers; without it, of all."""
        registry = self._service.server.metrics.registry
        names = request.query_params.getlist("name[]")
        text = generate_latest(registry.restricted_registry(names) if names else registry)
        return Response(text, headers={"content-type": CONTENT_TYPE_LATEST})


def _model(welcome: Welcome) -> dict[str, object]:
    return {"id": welcome.model, "object": "model", "created": 0, "owned_by": "goodspeed"}


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    response = ApiError(error.status_code, f"{request.method} {request.url.path}: {error.detail}")
    return JSONResponse(response.body(), error.status_code, error.headers)


async def _on_goodspeed_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, GoodSpeedError)
    response = api_error(error)
    return JSONResponse(response.body(), response.status, response.headers)
