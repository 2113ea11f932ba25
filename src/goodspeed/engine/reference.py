"""Speculative decoding in one process: the oracle of the tests, and the place to start reading.

Whatever a verifier and its drafters do over a network, the text must be the one that `generate` writes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.rules import choose, verify
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine

GREEDY = Sampling()
STREAM = 0  # the only one


class ReferenceModel(Protocol):
    """A causal language model."""

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[len(tokens), vocab]: row i scores what comes after tokens[: i + 1]."""


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """A text to be continued."""

    prompt: tuple[int, ...]  # at least one token
    max_tokens: int
    sampling: Sampling = GREEDY
    end_tokens: tuple[int, ...] = ()
    """An answer ends with the first of these, which belongs to it."""


def generate(model: ReferenceModel, request: ReferenceRequest) -> tuple[int, ...]:
    """The answer of the target alone: one forward pass a token."""
    answer: tuple[int, ...] = ()
    while not is_finished(request, answer):
        tokens = request.prompt + answer
        last_row = model.logits(tokens)[-1:]
        answer += (int(choose(last_row, request.sampling, len(tokens))[0]),)
    return answer


def speculate(
    model: ReferenceModel, drafts: DraftEngine, request: ReferenceRequest, window: int
) -> Iterator[tuple[int, ...]]:
    """The same answer in rounds: what each forward pass commits, at most `window` accepted tokens and one more."""
    answer: tuple[int, ...] = ()
    drafts.open(STREAM, request.prompt, request.sampling)
    while not is_finished(request, answer):
        tokens = request.prompt + answer
        draft = drafts.draft([DraftRequest(STREAM, min(window, request.max_tokens - len(answer) - 1))])[0]
        rows = model.logits(tokens + draft.tokens)[len(tokens) - 1 :]
        num_accepted, next_token = verify(rows, draft.tokens, draft.draft_probs, request.sampling, len(tokens))
        committed = truncate_at_end(request, (*draft.tokens[:num_accepted], next_token))
        drafts.commit(STREAM, committed)
        answer += committed
        yield committed
    drafts.close(STREAM)


def is_finished(request: ReferenceRequest, answer: Sequence[int]) -> bool:
    """Whether nothing more is to be written."""
    return len(answer) >= request.max_tokens or (len(answer) > 0 and answer[-1] in request.end_tokens)


def truncate_at_end(request: ReferenceRequest, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """A round's tokens up to the first end token."""
    for i, token in enumerate(tokens):
        if token in request.end_tokens:
            return tokens[: i + 1]
    return tokens
