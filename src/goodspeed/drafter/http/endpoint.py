"""The endpoints that generate text: from a request body to a response, whole or as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from starlette.types import Receive, Scope, Send

from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.exchange import HttpExchange, content_encoding
from goodspeed.drafter.http.parsed_request import (
    ParsedRequest,
    generation_requests,
    parse_chat,
    parse_completion,
)
from goodspeed.drafter.http.request_body import CommonBody, read_chat, read_completion
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
BodyT = TypeVar("BodyT", bound=CommonBody)


@dataclass(frozen=True, slots=True)
class EndpointKind(Generic[BodyT]):
    """The differences between the two endpoints."""

    read: Callable[[bytes], BodyT]
    parse: Callable[[BodyT, Tokenizer, int], ParsedRequest]
    format: ResponseFormat


CHAT = EndpointKind(read_chat, parse_chat, ChatFormat())
"""POST /v1/chat/completions."""
COMPLETION = EndpointKind(read_completion, parse_completion, CompletionFormat())
"""POST /v1/completions."""


class GenerationEndpoint(Generic[BodyT]):
    """An ASGI application. When the client disconnects, its streams end here and at the verifier."""

    def __init__(self, kind: EndpointKind[BodyT], service: ApiService) -> None:
        self._kind = kind
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = HttpExchange(receive, send, self._service.comment_s)
        try:
            body = await exchange.body(content_encoding(scope))
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
        read = await asyncio.to_thread(self._kind.read, body)
        welcome = await service.welcome_of(read.model)
        parsed = await asyncio.to_thread(self._kind.parse, read, service.tokenizer, welcome.max_context)
        parsed = replace(parsed, mode=service.mode_of(parsed.mode))
        requests = generation_requests(parsed, welcome, service.max_tokens)
        envelope = Envelope(self._kind.format, welcome, parsed.includes_usage)
        with service.server.generate(*requests) as answers:
            detokenizers = [service.tokenizer.stream(request.tokens) for request in requests]
            transcripts = Transcripts(answers, detokenizers, parsed.stops.strings, parsed.min_tokens)
            if parsed.is_streamed:
                firsts = [envelope.format.first(index) for index in range(len(requests))]
                opening = [envelope.chunk([first]) for first in firsts if first]
                if service.server.is_up:
                    await exchange.events(opening)
                    opening = []
                await _send_events(envelope, transcripts.pieces(), exchange, opening)
                stats = _stats(parsed, requests, transcripts)
                if envelope.includes_usage:
                    await exchange.events([envelope.last_chunk(stats)])
                await exchange.end()
            else:
                pieces = await _collect(transcripts.pieces(), len(requests))
                choices = [envelope.format.whole(index, piece) for index, piece in enumerate(pieces)]
                await exchange.json(envelope.whole(choices, _stats(parsed, requests, transcripts)))


async def _send_events(
    envelope: Envelope,
    pieces: AsyncIterator[tuple[int, TextPiece]],
    exchange: HttpExchange,
    opening: Sequence[Json],
) -> None:
    """`opening`: events before the first piece. Without a verifier they wait for it: the status may become a 503."""
    async for index, piece in pieces:
        chunks = [envelope.chunk([envelope.format.delta(index, part)]) for part in _with_finish_apart(piece)]
        await exchange.events([*opening, *chunks])
        opening = ()


def _with_finish_apart(piece: TextPiece) -> Sequence[TextPiece]:
    """As in OpenAI's API the chunk with the finish has no text: clients take it for the end."""
    if piece.finish is None or not (piece.text or piece.logprobs):
        return (piece,)
    return replace(piece, finish=None), TextPiece("", (), piece.finish)


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
    answers = transcripts.answers.stats
    num_cached = sum(answer.num_cached for answer in answers[:: parsed.num_choices])
    return ResponseStats(num_prompt, num_cached, transcripts.num_tokens, answers)
