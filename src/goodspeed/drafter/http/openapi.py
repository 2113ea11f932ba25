"""The OpenAPI document of the HTTP API. The schemas of bodies are generated from the types that parse them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import goodspeed
from goodspeed.drafter.http.request_body import ChatBody, CompletionBody
from goodspeed.drafter.http.responses.response_request import ResponseBody
from goodspeed.drafter.http.tokenization import DetokenizeBody, TokenizeBody

JSON, EVENTS, TEXT = "application/json", "text/event-stream", "text/plain"
REFERENCE = "#/components/schemas/{name}"
ERROR = {
    "description": "An error",
    "content": {JSON: {"schema": {"$ref": REFERENCE.format(name="ErrorBody")}}},
}


class ErrorDetail(msgspec.Struct):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    """The field that is wrong, if it is one."""
    code: str | None


class ErrorBody(msgspec.Struct):
    """An error in OpenAI's form."""

    error: ErrorDetail


class DraftBody(msgspec.Struct):
    """Keys of the `draft` table of the drafter's configuration."""


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path."""

    method: str
    summary: str
    media_types: tuple[str, ...] = (JSON,)
    """Of the response."""
    body: type[msgspec.Struct] | None = None


OPERATIONS: Mapping[str, Sequence[Operation]] = {
    "/v1/chat/completions": [Operation("post", "Answer a chat", (JSON, EVENTS), ChatBody)],
    "/v1/completions": [Operation("post", "Continue a text", (JSON, EVENTS), CompletionBody)],
    "/v1/responses": [Operation("post", "Answer a conversation of items", (JSON, EVENTS), ResponseBody)],
    "/v1/models": [Operation("get", "The model that is served")],
    "/v1/models/{model}": [Operation("get", "A model")],
    "/tokenize": [Operation("post", "Tokens of a text or a chat", body=TokenizeBody)],
    "/detokenize": [Operation("post", "The text of tokens", body=DetokenizeBody)],
    "/version": [Operation("get", "The version of the drafter")],
    "/health": [Operation("get", "Whether there is a verifier; 503 if there is none")],
    "/metrics": [Operation("get", "Metrics for Prometheus", (TEXT,))],
    "/openapi.json": [Operation("get", "This document")],
    "/admin/draft": [
        Operation("get", "The draft engine in use"),
        Operation("post", "Replace the draft engine", body=DraftBody),
    ],
    "/live": [Operation("get", "Committed text with the origin of every token, as it comes", (EVENTS,))],
}
"""Every page that a drafter may have."""


class OpenApiPage:
    """GET /openapi.json."""

    def __init__(self, routes: Sequence[Route], *, needs_key: bool) -> None:
        paths = [route.path_format for route in routes]
        self._document = document([*paths, "/openapi.json"], needs_key=needs_key)

    async def page(self, _request: Request) -> Response:
        return JSONResponse(self._document)


def document(paths: Sequence[str], *, needs_key: bool) -> dict[str, Any]:
    """The OpenAPI document of these paths."""
    bodies = [operation.body for path in paths for operation in OPERATIONS[path] if operation.body]
    _, schemas = msgspec.json.schema_components([*bodies, ErrorBody], ref_template=REFERENCE)
    security: dict[str, Any] = {"security": [{"key": []}]} if needs_key else {}
    schemes = {"securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}} if needs_key else {}
    return {
        "openapi": "3.1.0",
        "info": {"title": "GoodSpeed drafter", "version": goodspeed.__version__},
        "paths": {path: {item.method: _operation(path, item) for item in OPERATIONS[path]} for path in paths},
        "components": {"schemas": schemas, **schemes},
        **security,
    }


def _operation(path: str, operation: Operation) -> dict[str, Any]:
    content = {media_type: {"schema": _content(media_type)} for media_type in operation.media_types}
    described: dict[str, Any] = {
        "summary": operation.summary,
        "responses": {"200": {"description": "The answer", "content": content}, "4XX": ERROR, "5XX": ERROR},
    }
    if path == "/health":
        described["responses"]["503"] = {"description": "No verifier", "content": content}
    if operation.body:
        schema = {"$ref": REFERENCE.format(name=operation.body.__name__)}
        described["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    if "{model}" in path:
        described["parameters"] = [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}]
    return described


def _content(media_type: str) -> dict[str, Any]:
    """The schema of a response; of server-sent events that of each."""
    if media_type == EVENTS:
        names = {"event": {"type": "string"}, "data": {"type": "string"}}
        return {"type": "object", "properties": names, "required": ["data"]}
    return {"type": "object" if media_type == JSON else "string"}
