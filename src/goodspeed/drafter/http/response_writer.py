"""Writes the response to one request, from the pieces of its answers: whole, or as events while they come."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from goodspeed.drafter.http.errors import ApiError
from goodspeed.drafter.http.response_body import Envelope, Json, ResponseStats
from goodspeed.drafter.http.tool_calls.call_delta import CallDelta, joined
from goodspeed.drafter.http.transcript import TextPiece


class ResponseWriter(Protocol):
    """One response: either `whole` after all pieces, or `opening`, the events of each piece, and `closing`."""

    has_done_event: bool
    """After the last event there is one with the text [DONE]."""

    def opening(self) -> Sequence[Json]:
        """The first events."""

    def events(self, index: int, piece: TextPiece) -> Sequence[Json]:
        """The events of the next piece of answer `index`."""

    def closing(self, stats: ResponseStats) -> Sequence[Json]:
        """The last events."""

    def failure(self, error: ApiError) -> Sequence[Json]:
        """The last events if the answer fails."""

    def whole(self, pieces: Sequence[Sequence[TextPiece]], stats: ResponseStats) -> Json:
        """The response that is not streamed; `pieces` by answer."""


class ChoicesWriter:
    """Chat completions and completions: a choice for each answer."""

    has_done_event = True

    def __init__(self, envelope: Envelope, num_choices: int) -> None:
        self._envelope = envelope
        self._num_choices = num_choices

    def opening(self) -> Sequence[Json]:
        firsts = [self._envelope.format.first(index) for index in range(self._num_choices)]
        return [self._envelope.chunk([first]) for first in firsts if first]

    def events(self, index: int, piece: TextPiece) -> Sequence[Json]:
        parts = _with_finish_apart(piece)
        return [self._envelope.chunk([self._envelope.format.delta(index, part)]) for part in parts]

    def closing(self, stats: ResponseStats) -> Sequence[Json]:
        return [self._envelope.last_chunk(stats)] if self._envelope.includes_usage else []

    def failure(self, error: ApiError) -> Sequence[Json]:
        return [error.body()]

    def whole(self, pieces: Sequence[Sequence[TextPiece]], stats: ResponseStats) -> Json:
        choices = [self._envelope.format.whole(index, _joined(parts)) for index, parts in enumerate(pieces)]
        return self._envelope.whole(choices, stats)


def _with_finish_apart(piece: TextPiece) -> Sequence[TextPiece]:
    """As in OpenAI's API the chunk with the finish has no text: clients take it for the end."""
    if piece.finish is None or piece.is_empty:
        return (piece,)
    return replace(piece, finish=None), TextPiece("", (), piece.finish)


def _joined(pieces: Sequence[TextPiece]) -> TextPiece:
    calls = joined(call for piece in pieces for call in piece.calls)
    return TextPiece(
        "".join(piece.text for piece in pieces),
        tuple(entry for piece in pieces for entry in piece.logprobs),
        pieces[-1].finish,
        tuple(call for call in calls if isinstance(call, CallDelta)),
    )
