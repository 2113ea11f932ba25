"""From the text of an answer to pieces of text and of calls."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from goodspeed.drafter.http.tool_calls.call_delta import CallDelta, Delta
from goodspeed.drafter.http.tool_calls.tool_parser import ToolParser
from goodspeed.drafter.http.transcript import TextPiece

ID_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
ID_LENGTH = 9
"""Mistral's chat templates accept ids of nine letters and digits only; others take any."""


class ToolReader:
    """Reads one answer."""

    def __init__(self, parser: ToolParser) -> None:
        self._parser = parser

    def read(self, piece: TextPiece) -> Sequence[TextPiece]:
        """The piece as the user sees it: in the order of the text, each of text or of one call."""
        deltas = self._parser.push(piece.text)
        finish = piece.finish
        if finish is not None:
            deltas += self._parser.finish()
            finish = "tool_calls" if finish == "stop" and self._parser.num_calls else finish
        pieces = [_piece(delta) for delta in deltas]
        if piece.logprobs or finish:
            first, *rest = pieces or [TextPiece("", (), None)]
            pieces = [replace(first, logprobs=piece.logprobs), *rest]
            pieces[-1] = replace(pieces[-1], finish=finish)
        return pieces


def _piece(delta: Delta) -> TextPiece:
    if isinstance(delta, CallDelta):
        call_id = "".join(secrets.choice(ID_CHARACTERS) for _ in range(ID_LENGTH)) if delta.name else ""
        return TextPiece("", (), None, (replace(delta, call_id=call_id),))
    return TextPiece(delta, (), None)
