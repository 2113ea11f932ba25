"""The tokens of simulated prompts: equal where the workload says that the text is equal, and nowhere else.

Answers are one repeated token, and so is the most of every prompt. What is equal decides what prefix caches can share,
so every piece of text that is new begins with tokens that no other piece begins with.
"""

from typing import Final

from goodspeed.simulator.target import RIGHT
from goodspeed.simulator.workload.workload import TEXT_BLOCK, WorkloadRequest

FIRST_ID: Final = 24_000
"""The first of the tokens that name pieces of text. All take 3 bytes on the wire, as RIGHT does."""
BASE: Final = 8_192
NEW_TEXT, BLOCK_TEXT = 22_000, 22_001
"""Tokens at the beginning of a piece: text of one request, or a block of a trace, which may occur in several."""


class PromptTexts:
    """The prompts of one client's requests, in order."""

    def __init__(self, client: tuple[int, int]) -> None:
        """`client`: the number of its tier, and its own there."""
        self._client = client
        self._num_pieces = 0
        self._previous: tuple[int, ...] = ()

    def prompt(self, request: WorkloadRequest) -> tuple[int, ...]:
        """The tokens of the client's next request."""
        length = request.num_prompt_tokens
        if request.blocks:
            pieces = [_piece(BLOCK_TEXT, (block,), TEXT_BLOCK) for block in request.blocks]
            tokens = tuple([token for piece in pieces for token in piece])[:length]
        else:
            tokens = self._previous[:length] if request.is_next_turn else ()
        tokens += self._new_text(length - len(tokens))
        self._previous = tokens + (RIGHT,) * request.num_answer_tokens
        return tokens

    def _new_text(self, length: int) -> tuple[int, ...]:
        self._num_pieces += 1
        return _piece(NEW_TEXT, (*self._client, self._num_pieces), length)


def _piece(kind: int, numbers: tuple[int, ...], length: int) -> tuple[int, ...]:
    digits = [FIRST_ID + (number // BASE**place) % BASE for number in numbers for place in (0, 1, 2)]
    return (kind, *digits, *(RIGHT,) * (length - 1 - len(digits)))[:length]
