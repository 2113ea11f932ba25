"""A stream of a target engine that computes logits: what it reads next, what it commits, what its outcome is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.rules import verify
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, Verify, Work
from goodspeed.engine.logits_processors import failure_of, logits_processors

Logprobs = tuple[tuple[float, ...], tuple[TopTokens, ...]]
"""Of tokens, and the most likely ones of each position, as decoding.logprobs.logprobs_of."""

SCORED_ROWS: Final = 64
"""Rows whose log-probabilities are computed at a time: those of a whole prompt would take gigabytes."""


class LogitRows(Protocol):
    """[rows, vocab]: an array or a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Self: ...


Logits = TypeVar("Logits", bound=LogitRows)


class NewTokens(NamedTuple):
    """The tokens of a work item that run through the model after the cached ones."""

    tokens: list[int]
    num_logits: int
    """Number of last tokens that need logits."""


class TargetStream(ABC, Generic[Logits]):
    """An open stream. The engine runs what `new_tokens` says, and passes the logits to `outcome`.

    A violation of the TargetEngine contract fails an assertion.
    """

    def __init__(self, spec: StreamSpec, grammars: Grammars | None) -> None:
        num_tokens = len(spec.tokens)
        assert 0 < num_tokens <= spec.capacity, f"{num_tokens} tokens in a capacity of {spec.capacity}"
        self.spec = spec
        self.tokens = list(spec.tokens)
        """Committed tokens: the prefix, then the answer."""
        self.num_prefilled = spec.prefix.num_tokens if spec.prefix else 0
        """Prefix tokens that the caller has had prefilled, or takes from another stream."""
        assert self.num_prefilled < num_tokens, f"all of {num_tokens} tokens are cached"
        self.num_cached = 0
        """Leading tokens with valid keys and values: the prefilled ones, and after the prefill all but the last."""
        self._processors = logits_processors(spec, grammars)
        self._prompt_logprobs: tuple[float, ...] = ()  # of the prefilled tokens, if requested
        self._prompt_top_logprobs: tuple[TopTokens, ...] = ()

    @property
    def num_to_prefill(self) -> int:
        """Prefix tokens that are not prefilled yet."""
        return len(self.spec.tokens) - self.num_prefilled

    def new_tokens(self, work: Work) -> NewTokens:
        """What the step runs for a work item."""
        if isinstance(work, Prefill):
            remaining = self.num_to_prefill
            assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens}, {remaining} remain"
            tokens = self.tokens[self.num_cached : self.num_prefilled + work.num_tokens]
            return NewTokens(tokens, len(tokens) if self.spec.prompt_logprobs else int(work.num_tokens == remaining))
        assert self.num_to_prefill <= 1, f"stream {work.stream} is not completely prefilled"
        num_tokens = len(self.tokens) + len(work.draft_tokens)
        assert num_tokens <= self.spec.capacity, f"{num_tokens} tokens in a capacity of {self.spec.capacity}"
        return NewTokens([*self.tokens[self.num_cached :], *work.draft_tokens], 1 + len(work.draft_tokens))

    def outcome(
        self,
        work: Work,
        logits: Logits,  # [num_logits of new_tokens, vocab]
    ) -> Outcome:
        """Verify and commit. The engine then drops what it has cached beyond `num_cached` tokens."""
        if not isinstance(work, Prefill):
            return self._commit(work, logits)
        if self.spec.prompt_logprobs:
            self._score_prompt(logits)
        self.num_prefilled += work.num_tokens
        self.num_cached = self.num_prefilled
        if self.num_to_prefill:
            return Outcome(work.stream, 0, None)
        return replace(
            self._commit(Verify(work.stream, ()), logits[-1:]),
            prompt_logprobs=self._prompt_logprobs,
            prompt_top_logprobs=self._prompt_top_logprobs,
        )

    @abstractmethod
    def _verify(self, work: Verify, logits: Logits) -> tuple[int, int]:
        """(num_accepted, next_token)."""

    @abstractmethod
    def _logprobs(self, logits: Logits, tokens: Sequence[int]) -> Logprobs:
        """The log-probabilities of n tokens in the first n rows."""

    def _verify_rows(self, work: Verify, logits: npt.NDArray[np.float32]) -> tuple[int, int]:
        """`_verify` on the host: the stream's logits processors, then its rule."""
        rows = processed(logits, work.draft_tokens, self._processors)
        return verify(rows, work.draft_tokens, work.draft_probs, self.spec.sampling, len(self.tokens))

    def _commit(self, work: Verify, logits: Logits) -> Outcome:
        num_accepted, next_token = self._verify(work, logits)
        committed = (*work.draft_tokens[:num_accepted], next_token)
        logprobs, top_logprobs = self._logprobs(logits, committed) if self.spec.logprobs else ((), ())
        self.tokens.extend(committed)
        for processor in self._processors:
            processor.commit(committed)
        self.num_prefilled = len(self.spec.tokens)
        self.num_cached = len(self.tokens) - 1
        failure = failure_of(self._processors)
        return Outcome(work.stream, num_accepted, next_token, logprobs, failure, top_logprobs=top_logprobs)

    def _score_prompt(self, logits: Logits) -> None:
        """Keep the log-probabilities of the prompt's tokens that follow those of a prefill."""
        following = self.tokens[self.num_cached + 1 : self.num_cached + 1 + len(logits)]
        for start in range(0, len(following), SCORED_ROWS):
            scored = following[start : start + SCORED_ROWS]
            logprobs, top_logprobs = self._logprobs(logits[start : start + len(scored)], scored)
            self._prompt_logprobs += logprobs
            self._prompt_top_logprobs += top_logprobs
