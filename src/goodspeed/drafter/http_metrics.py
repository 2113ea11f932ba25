"""Metrics of a drafter's HTTP API. Labels have few values: a path without a page is `other`, a key has its name."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class HttpMetrics:
    """Requests by path and status, in progress, and by API key."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "goodspeed_drafter_http_requests",
            "HTTP requests by path and status; 499: the client left before the response began",
            labelnames=["path", "status"],
            registry=registry,
        )
        self._in_progress = Gauge(
            "goodspeed_drafter_http_requests_in_progress",
            "HTTP requests without a complete response",
            registry=registry,
        )
        self._by_key = Counter(
            "goodspeed_drafter_api_key_requests", "requests by the name of their API key", ["key"], registry=registry
        )

    def on_request(self) -> None:
        """A request has arrived."""
        self._in_progress.inc()

    def on_key(self, name: str) -> None:
        """A request has shown the key of this name."""
        self._by_key.labels(name).inc()

    def on_response(self, path: str, status: int) -> None:
        """The response to a request is complete, or its client has left."""
        self._in_progress.dec()
        self._requests.labels(path, str(status)).inc()
