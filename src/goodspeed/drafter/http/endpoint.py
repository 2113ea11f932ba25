"""The endpoints that generate text: from a request body to a response, whole or as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace

from starlette.types import Receive, Scope, Send

from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.exchange import HttpExchange
from goodspeed.drafter.http.parsed_request import ParsedRequest, generation_requests, parse_chat, parse_completion
from goodspeed.drafter.http.response_body import (
    ChatFormat,
    CompletionFormat,
    Envelope,
    Json,
    ResponseFormat,
    ResponseStats,
)
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.transcript import TextPiece, Transcripts
from goodspeed.errors import GoodSpeedError
from goodspeed.models.tokenizer import Tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EndpointKind:
    """The differences between the two endpoints."""

    parse: Callable[[bytes, Tokenizer], ParsedRequest]
    format: ResponseFormat


CHAT = EndpointKind(parse_chat, ChatFormat())
"""POST /v1/chat/completions."""
COMPLETION = EndpointKind(parse_completion, CompletionFormat())
"""POST /v1/completions."""


class GenerationEndpoint:
    """An ASGI application. When the client disconnects, its streams end here and at the verifier."""

    def __init__(self, kind: EndpointKind, service: ApiService) -> None:
        self._kind = kind
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        exchange = HttpExchange(receive, send)
        try:
            body = await exchange.body()
            await exchange.while_connected(self._respond(body, exchange))
        except GoodSpeedError as error:
            await exchange.fail(api_error(error))
        except TimeoutError:
            log.warning("client dropped: it does not read its response")

    async def _respond(self, body: bytes, exchange: HttpExchange) -> None:
        """Raises GoodSpeedError for errors that the client gets."""
        try:
            await self._generate(body, exchange)
        except (GoodSpeedError, TimeoutError):
            raise
        except Exception as error:
            log.exception("request failed")
            raise ApiError(500, f"internal error: {type(error).__name__}") from error

    async def _generate(self, body: bytes, exchange: HttpExchange) -> None:
        """Parse the request, open one stream per choice, and send their text as it comes or at the end."""
        service = self._service
        parsed = await asyncio.to_thread(self._kind.parse, body, service.tokenizer)
        welcome = await service.welcome_of(parsed.model)
        parsed = replace(parsed, mode=service.mode_of(parsed.mode))
        requests = generation_requests(parsed, welcome, service.max_tokens)
        envelope = Envelope(self._kind.format, welcome, parsed.includes_usage)
        with service.server.generate(*requests) as answers:
            detokenizers = [service.tokenizer.stream(request.tokens) for request in requests]
            transcripts = Transcripts(answers, detokenizers, parsed.stops)
            if parsed.is_streamed:
                await _send_events(envelope, transcripts.pieces(), exchange)
                stats = _stats(parsed, requests, transcripts)
                if envelope.includes_usage:
                    await exchange.events([envelope.last_chunk(stats)])
                await exchange.end()
            else:
                pieces = await _collect(transcripts.pieces(), len(requests))
                choices = [envelope.format.whole(index, piece) for index, piece in enumerate(pieces)]
                await exchange.json(envelope.whole(choices, _stats(parsed, requests, transcripts)))


async def _send_events(
    envelope: Envelope, pieces: AsyncIterator[tuple[int, TextPiece]], exchange: HttpExchange
) -> None:
    started: set[int] = set()
    async for index, piece in pieces:
        choices: list[Json | None] = [envelope.format.delta(index, piece)]
        if index not in started:
            started.add(index)
            choices.insert(0, envelope.format.first(index))
        await exchange.events([envelope.chunk([choice]) for choice in choices if choice])


async def _collect(pieces: AsyncIterator[tuple[int, TextPiece]], num_choices: int) -> Sequence[TextPiece]:
    """The pieces of each choice, joined."""
    by_choice: list[list[TextPiece]] = [[] for _ in range(num_choices)]
    async for index, piece in pieces:
        by_choice[index].append(piece)
    return [
        TextPiece(
            "".join(piece.text for piece in choice),
            tuple(entry for piece in choice for entry in piece.logprobs),
            choice[-1].finish,
        )
        for choice in by_choice
    ]


def _stats(parsed: ParsedRequest, requests: Sequence[GenerationRequest], transcripts: Transcripts) -> ResponseStats:
    num_prompt = sum(len(request.tokens) for request in requests[:: parsed.num_choices])  # each prompt counts once
    return ResponseStats(num_prompt, transcripts.num_tokens, transcripts.answers.stats)
