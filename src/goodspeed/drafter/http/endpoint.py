"""The endpoints that generate: from a body to a response, whole or in server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from starlette.types import Receive, Scope, Send

from goodspeed.drafter.http.choices import Choices
from goodspeed.drafter.http.connected import read_body, while_connected
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.parsed_request import ParsedRequest, generation_requests, parse_chat, parse_completion
from goodspeed.drafter.http.reply import Reply
from goodspeed.drafter.http.response_body import (
    ChatFormat,
    CompletionFormat,
    Envelope,
    Json,
    ResponseFormat,
    ResponseStats,
)
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.transcript import TextPiece
from goodspeed.errors import GoodSpeedError
from goodspeed.models.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointKind:
    """What tells one endpoint from the other."""

    read: Callable[[bytes, Tokenizer], ParsedRequest]
    shape: ResponseFormat


def chat_kind(tokenizer: Tokenizer) -> EndpointKind:
    """POST /v1/chat/completions."""
    return EndpointKind(parse_chat, ChatFormat(tokenizer))


def completion_kind(tokenizer: Tokenizer) -> EndpointKind:
    """POST /v1/completions."""
    return EndpointKind(parse_completion, CompletionFormat(tokenizer))


class GenerationEndpoint:
    """An ASGI application. When the client disconnects, its streams end here and at the verifier."""

    def __init__(self, kind: EndpointKind, service: ApiService) -> None:
        self._kind = kind
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        reply = Reply(send)
        try:
            body = await read_body(receive)
            await while_connected(receive, self._respond(body, reply))
        except GoodSpeedError as error:
            await reply.fail(api_error(error))
        except TimeoutError:
            log.warning("client given up: it does not read")

    async def _respond(self, body: bytes, reply: Reply) -> None:
        """Raises GoodSpeedError for what the client is to be told."""
        try:
            await self._answer(body, reply)
        except (GoodSpeedError, TimeoutError):
            raise
        except Exception as error:
            log.exception("request failed")
            raise ApiError(500, f"internal error: {type(error).__name__}") from error

    async def _answer(self, body: bytes, reply: Reply) -> None:
        service = self._service
        asked = await asyncio.to_thread(self._kind.read, body, service.tokenizer)
        welcome = await service.welcome_of(asked.model)
        envelope = Envelope(self._kind.shape, welcome, asked.includes_usage)
        with Choices(service.server, generation_requests(asked, welcome, service.max_tokens)) as choices:
            async with aclosing(choices.transcribe(service.tokenizer, asked.stops)) as pieces:
                if asked.is_streamed:
                    await _stream(envelope, pieces, reply)
                else:
                    whole = await _collect(pieces, asked.num_choices * len(asked.prompts))
                    written = [envelope.shape.whole(index, piece) for index, piece in enumerate(whole)]
                    await reply.json(envelope.whole(written, choices.tally(len(asked.prompts))))
            if asked.is_streamed:
                await _end_stream(envelope, choices.tally(len(asked.prompts)), reply)


async def _stream(envelope: Envelope, pieces: AsyncIterator[tuple[int, TextPiece]], reply: Reply) -> None:
    opened: set[int] = set()
    async for index, piece in pieces:
        choices: list[Json | None] = [envelope.shape.delta(index, piece)]
        if index not in opened:
            opened.add(index)
            choices.insert(0, envelope.shape.first(index))
        await reply.events([envelope.chunk([choice]) for choice in choices if choice])


async def _end_stream(envelope: Envelope, tally: ResponseStats, reply: Reply) -> None:
    if envelope.includes_usage:
        await reply.events([envelope.last_chunk(tally)])
    await reply.end()


async def _collect(pieces: AsyncIterator[tuple[int, TextPiece]], num_choices: int) -> Sequence[TextPiece]:
    """All pieces of each choice as one."""
    by_choice: list[list[TextPiece]] = [[] for _ in range(num_choices)]
    async for index, piece in pieces:
        by_choice[index].append(piece)
    return [
        TextPiece(
            "".join(piece.text for piece in mine),
            tuple(entry for piece in mine for entry in piece.logprobs),
            mine[-1].finish,
        )
        for mine in by_choice
    ]
