"""Counts requests by path and status."""

from collections.abc import Sequence

from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from goodspeed.drafter.http_metrics import HttpMetrics

CLIENT_LEFT = 499
"""The status of a request whose client left before the response began; the number is nginx's."""
OTHER = "other"


class RequestCounts:
    """Counts every request once its response is complete. All paths without a page are one label value."""

    def __init__(self, app: ASGIApp, routes: Sequence[Route], metrics: HttpMetrics) -> None:
        self._app = app
        self._routes = routes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = CLIENT_LEFT

        async def send_counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.on_request()
        try:
            await self._app(scope, receive, send_counted)
        finally:
            self._metrics.on_response(self._path(scope), status)

    def _path(self, scope: Scope) -> str:
        matching = (route.path_format for route in self._routes if route.matches(scope)[0] is not Match.NONE)
        return next(matching, OTHER)
