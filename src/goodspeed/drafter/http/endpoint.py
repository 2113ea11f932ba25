"""The endpoints that generate text: from a request body to a response, whole or as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from starlette.types import Receive, Scope, Send

from goodspeed.drafter.core.request import GenerationRequest
from goodspeed.drafter.http.api_keys import key_holder
from goodspeed.drafter.http.errors import ApiError, api_error
from goodspeed.drafter.http.exchange import HttpExchange, content_encoding
from goodspeed.drafter.http.parsed_request import (
    ParsedRequest,
    generation_requests,
    parse_chat,
    parse_completion,
)
from goodspeed.drafter.http.request_body import GenerationBody, read_chat, read_completion
from goodspeed.drafter.http.response_body import (
    ChatFormat,
    CompletionFormat,
    Envelope,
    ResponseFormat,
    ResponseStats,
)
from goodspeed.drafter.http.response_writer import ChoicesWriter, ResponseWriter
from goodspeed.drafter.http.responses.response_events import ResponseEvents
from goodspeed.drafter.http.responses.response_request import ResponseBody, parse_response, read_response
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.tool_calls.answer_calls import AnswerCalls
from goodspeed.drafter.http.tool_calls.tool_reader import ToolReader
from goodspeed.drafter.http.transcript import TextPiece, Transcript, Transcripts
from goodspeed.errors import GoodSpeedError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.protocol.messages import Welcome

log = logging.getLogger(__name__)
BodyT = TypeVar("BodyT", bound=GenerationBody)
Pieces = AsyncIterator[tuple[int, TextPiece]]
"""The index of an answer, and its next piece."""


@dataclass(frozen=True, slots=True)
class EndpointKind(Generic[BodyT]):
    """The differences between the endpoints."""

    read: Callable[[bytes], BodyT]
    parse: Callable[[BodyT, Tokenizer, int], ParsedRequest]
    writer: Callable[[BodyT, ParsedRequest, Welcome], ResponseWriter]


def _choices(response_format: ResponseFormat) -> Callable[[GenerationBody, ParsedRequest, Welcome], ResponseWriter]:
    def writer(_body: GenerationBody, parsed: ParsedRequest, welcome: Welcome) -> ResponseWriter:
        return ChoicesWriter(Envelope(response_format, welcome, parsed.includes_usage), parsed.num_answers)

    return writer


def _response(body: ResponseBody, _parsed: ParsedRequest, welcome: Welcome) -> ResponseWriter:
    return ResponseEvents(body, welcome)


CHAT = EndpointKind(read_chat, parse_chat, _choices(ChatFormat()))
"""POST /v1/chat/completions."""
COMPLETION = EndpointKind(read_completion, parse_completion, _choices(CompletionFormat()))
"""POST /v1/completions."""
RESPONSE = EndpointKind(read_response, parse_response, _response)
"""POST /v1/responses."""


class GenerationEndpoint(Generic[BodyT]):
    """An ASGI application. When the client disconnects, its streams end here and at the verifier."""

    def __init__(self, kind: EndpointKind[BodyT], service: ApiService) -> None:
        self._kind = kind
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = HttpExchange(receive, send, self._service.comment_s)
        try:
            body = await exchange.body(content_encoding(scope))
            holder = key_holder(scope)
            await exchange.while_connected(self._respond(body, exchange), holder.revoked if holder else None)
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
        calls = AnswerCalls(parsed.tools, service.tool_format) if parsed.tools else None
        parsed = await asyncio.to_thread(self._constrained, parsed, calls)
        requests = generation_requests(parsed, welcome, service.max_tokens)
        writer = self._kind.writer(read, parsed, welcome)
        exchange.fail_with(writer.failure)
        with service.server.generate(*requests) as answers:
            transcripts = Transcripts(answers, [self._transcript(request, parsed, calls) for request in requests])
            pieces = transcripts.pieces()
            if calls:
                pieces = _with_calls(pieces, [ToolReader(calls.parser()) for _ in requests])
            if parsed.is_streamed:
                await _send_events(writer, pieces, exchange, waits=not service.server.is_up)
                await exchange.events(writer.closing(_stats(parsed, requests, transcripts)))
                await exchange.end(has_done_event=writer.has_done_event)
            else:
                collected = await _collect(pieces, len(requests))
                await exchange.json(writer.whole(collected, _stats(parsed, requests, transcripts)))

    def _constrained(self, parsed: ParsedRequest, calls: AnswerCalls | None) -> ParsedRequest:
        """Compile the constraints, which may take a second. Raises ApiError or RequestError."""
        service = self._service
        if parsed.constraint:
            parsed.constraint.check(service.grammars)
        constraint = (
            calls.constraint(parsed.constraint, service.tokenizer.special_tokens, service.grammars) if calls else None
        )
        if constraint is None:
            return parsed
        sampling = replace(parsed.sampling, constraint=constraint.constraint)
        return replace(parsed, sampling=sampling, constraint=constraint)

    def _transcript(self, request: GenerationRequest, parsed: ParsedRequest, calls: AnswerCalls | None) -> Transcript:
        echo = parsed.echo(request.tokens)
        before = () if echo else request.tokens
        detokenizer = self._service.tokenizer.stream(before, calls.format.markers if calls else ())
        last_call = calls.last_call if calls else None
        return Transcript(detokenizer, parsed.stops.strings, parsed.min_tokens, last_call, echo)


async def _with_calls(pieces: Pieces, readers: Sequence[ToolReader]) -> Pieces:
    """`readers`: one for each answer."""
    async for index, piece in pieces:
        for part in readers[index].read(piece):
            yield index, part


async def _send_events(writer: ResponseWriter, pieces: Pieces, exchange: HttpExchange, *, waits: bool) -> None:
    """`waits`: there is no verifier. The first events wait for it with the rest: the status may become a 503."""
    opening = writer.opening()
    if not waits:
        await exchange.events(opening)
        opening = ()
    async for index, piece in pieces:
        await exchange.events([*opening, *writer.events(index, piece)])
        opening = ()


async def _collect(pieces: Pieces, num_answers: int) -> Sequence[Sequence[TextPiece]]:
    """The pieces of each answer."""
    by_answer: list[list[TextPiece]] = [[] for _ in range(num_answers)]
    async for index, piece in pieces:
        by_answer[index].append(piece)
    return by_answer


def _stats(parsed: ParsedRequest, requests: Sequence[GenerationRequest], transcripts: Transcripts) -> ResponseStats:
    num_prompt = sum(len(request.tokens) for request in requests[:: parsed.num_choices])  # each prompt counts once
    answers = transcripts.answers.stats
    num_cached = sum(answer.num_cached for answer in answers[:: parsed.num_choices])
    return ResponseStats(num_prompt, num_cached, transcripts.num_tokens, answers)
