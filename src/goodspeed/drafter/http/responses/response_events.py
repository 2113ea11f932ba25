"""Writes a response in the form of OpenAI's Responses API."""

import secrets
import time
from collections.abc import Sequence

import msgspec

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.response_body import Json, ResponseStats
from goodspeed.drafter.http.responses.output_items import Output
from goodspeed.drafter.http.responses.response_request import ResponseBody
from goodspeed.drafter.http.transcript import TextPiece
from goodspeed.protocol.messages import Welcome


class ResponseEvents:
    """A ResponseWriter. Every event has the next sequence number."""

    has_done_event = False

    def __init__(self, body: ResponseBody, welcome: Welcome) -> None:
        self._base = _base(body, welcome)
        self._output = Output()
        self._finish: str | None = None
        self._num_events = 0

    def opening(self) -> Sequence[Json]:
        kinds = ("response.created", "response.in_progress")
        return self._numbered([{"type": kind, "response": self._response("in_progress")} for kind in kinds])

    def events(self, index: int, piece: TextPiece) -> Sequence[Json]:
        del index  # there is one answer
        events = self._output.add(piece)
        if piece.finish:
            self._finish = piece.finish
            events += self._output.end(is_complete=piece.finish != "length")
        return self._numbered(events)

    def closing(self, stats: ResponseStats) -> Sequence[Json]:
        response = self._finished(stats)
        return self._numbered([{"type": f"response.{response['status']}", "response": response}])

    def failure(self, error: ApiError) -> Sequence[Json]:
        code = "server_error" if error.status >= 500 else "invalid_prompt"
        response = self._response("failed") | {"error": {"code": code, "message": str(error)}}
        return self._numbered([{"type": "response.failed", "response": response}])

    def whole(self, pieces: Sequence[Sequence[TextPiece]], stats: ResponseStats) -> Json:
        for piece in pieces[0]:
            self.events(0, piece)
        return self._finished(stats)

    def _finished(self, stats: ResponseStats) -> Json:
        is_cut = self._finish == "length"
        return self._response("incomplete" if is_cut else "completed") | {
            "completed_at": None if is_cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "usage": _usage(stats),
            "goodspeed": stats.speculation(),
        }

    def _response(self, status: str) -> Json:
        return self._base | {"status": status, "output": list(self._output.items)}

    def _numbered(self, events: Sequence[Json]) -> Sequence[Json]:
        first = self._num_events
        self._num_events += len(events)
        return [event | {"sequence_number": first + i} for i, event in enumerate(events)]


def _base(body: ResponseBody, welcome: Welcome) -> Json:
    """The fields that are known from the start, as clients of OpenAI's API expect them."""
    return {
        "id": f"resp_{secrets.token_hex(24)}",
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "model": welcome.model,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "background": False,
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "text": {"format": _text_format(body)},
        "tool_choice": "auto" if body.tool_choice is None else msgspec.to_builtins(body.tool_choice),
        "tools": msgspec.to_builtins(body.tools or []),
        "top_logprobs": body.top_logprobs or 0,
        "top_p": 1.0 if body.top_p is None else body.top_p,
        "truncation": "disabled",
        "usage": None,
        "user": body.user,
    }


def _text_format(body: ResponseBody) -> object:
    given = body.text.format if body.text else None
    if given is None or given.type != "json_schema":
        return {"type": given.type if given else "text"}
    return msgspec.to_builtins(given)


def _usage(stats: ResponseStats) -> Json:
    return {
        "input_tokens": stats.num_prompt,
        "input_tokens_details": {"cached_tokens": stats.num_cached},
        "output_tokens": stats.num_completion,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": stats.num_prompt + stats.num_completion,
    }
