"""POST /tokenize and /detokenize, with the fields of vLLM's."""

import asyncio
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.request_body import parse_body
from goodspeed.drafter.http.service import ApiService
from goodspeed.models.tokenizer import Tokenizer


class TokenizeBody(msgspec.Struct, kw_only=True):
    """POST /tokenize: a text or a chat."""

    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool = True
    """Of a prompt: with the special tokens that the model expects around a text."""
    return_token_strs: bool | None = None


class DetokenizeBody(msgspec.Struct, kw_only=True):
    """POST /detokenize."""

    model: str | None = None
    tokens: list[int]


class TokenizationPages:
    """They need no verifier."""

    def __init__(self, service: ApiService) -> None:
        self._service = service

    async def tokenize(self, request: Request) -> Response:
        body = parse_body(await request.body(), TokenizeBody)
        tokenizer, welcome = self._service.tokenizer, self._service.server.welcome
        tokens = await asyncio.to_thread(_tokens, body, tokenizer)
        found: dict[str, object] = {
            "count": len(tokens),
            "max_model_len": welcome.max_context if welcome else None,
            "tokens": tokens,
        }
        if body.return_token_strs:
            found["token_strs"] = [tokenizer.decode((token,), has_special=True) for token in tokens]
        return JSONResponse(found)

    async def detokenize(self, request: Request) -> Response:
        tokens = parse_body(await request.body(), DetokenizeBody).tokens
        if not all(0 <= token < 2**32 for token in tokens):
            raise ApiError(400, "tokens has a value that is no token id", "tokens")
        return JSONResponse({"prompt": self._service.tokenizer.decode(tokens, has_special=True)})


def _tokens(body: TokenizeBody, tokenizer: Tokenizer) -> list[int]:
    if body.messages is not None and body.prompt is None:
        return tokenizer.encode_chat(body.messages)
    if body.prompt is None or body.messages is not None:
        raise ApiError(400, "expected either prompt or messages", "prompt")
    return tokenizer.encode(body.prompt, add_special_tokens=body.add_special_tokens)
