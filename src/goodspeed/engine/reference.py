"""Speculative decoding in one process: the reference for tests, and the best file to read first.

A verifier and its drafters must return exactly the text that `generate` returns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.rules import choose, verify
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import DraftEngine, StreamSpec
from goodspeed.engine.logits_processors import logits_processors

GREEDY = Sampling()
STREAM = 0  # the only one


class ReferenceModel(Protocol):
    """A causal language model."""

    def logits(self, tokens: Sequence[int]) -> npt.NDArray[np.float32]:
        """[len(tokens), vocab]: row i has the logits of the token after tokens[: i + 1]."""


@dataclass(frozen=True, slots=True)
class ReferenceRequest:
    """A prompt to be continued."""

    prompt: tuple[int, ...]  # at least one token
    max_tokens: int
    sampling: Sampling = GREEDY
    end_tokens: tuple[int, ...] = ()
    """The answer ends with the first of these tokens, which is part of it."""
    grammars: Grammars | None = None
    """For a request with a constraint."""

    def spec(self, answer: tuple[int, ...]) -> StreamSpec:
        """The stream after the first tokens of its answer."""
        tokens, capacity = self.prompt + answer, len(self.prompt) + self.max_tokens
        return StreamSpec(tokens, self.sampling, capacity, num_resumed=len(answer), end_tokens=self.end_tokens)


def generate(model: ReferenceModel, request: ReferenceRequest) -> tuple[int, ...]:
    """The answer of the target model without drafts: one forward pass per token."""
    answer: tuple[int, ...] = ()
    while not is_finished(request, answer):
        tokens = request.prompt + answer
        last_row = processed(model.logits(tokens)[-1:], (), logits_processors(request.spec(answer), request.grammars))
        answer += (int(choose(last_row, request.sampling, len(tokens))[0]),)
    return answer


def speculate(
    model: ReferenceModel, drafts: DraftEngine, request: ReferenceRequest, window: int
) -> Iterator[tuple[int, ...]]:
    """The same answer in rounds; yields what each forward pass commits: up to `window` accepted tokens and one more."""
    answer: tuple[int, ...] = ()
    drafts.open(STREAM, request.prompt, request.sampling)
    processors = logits_processors(request.spec(answer), request.grammars)
    while not is_finished(request, answer):
        tokens = request.prompt + answer
        draft = drafts.draft([DraftRequest(STREAM, min(window, request.max_tokens - len(answer) - 1))])[0]
        rows = processed(model.logits(tokens + draft.tokens)[len(tokens) - 1 :], draft.tokens, processors)
        num_accepted, next_token = verify(rows, draft.tokens, draft.draft_probs, request.sampling, len(tokens))
        committed = truncate_at_end(request, (*draft.tokens[:num_accepted], next_token))
        drafts.commit(STREAM, committed)
        for processor in processors:
            processor.commit(committed)
        answer += committed
        yield committed
    drafts.close(STREAM)


def is_finished(request: ReferenceRequest, answer: Sequence[int]) -> bool:
    """Whether the answer is complete."""
    return len(answer) >= request.max_tokens or (len(answer) > 0 and answer[-1] in request.end_tokens)


def truncate_at_end(request: ReferenceRequest, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """The tokens up to and including the first end token."""
    for i, token in enumerate(tokens):
        if token in request.end_tokens:
            return tokens[: i + 1]
    return tokens
