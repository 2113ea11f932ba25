"""The checks of `goodspeed verify-lossless`: same text (greedy, coupled) or same distribution of texts (rejection)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.engine.reference import ReferenceRequest
from goodspeed.lossless.pair import DraftSchedule, EnginePair, PairText, distribution_p_value, first_difference

SIGNIFICANCE = 1e-4
"""A sound pair fails a distribution check once in this share of runs (with other seeds)."""


@dataclass(frozen=True, slots=True)
class TextDifference:
    """A text that is not the target's alone."""

    text: int  # which of the requests
    position: int  # of its tokens
    alone: int | None  # None: the text ends here
    speculative: int | None


@dataclass(frozen=True, slots=True)
class TextCheck:
    """The same requests, by the target alone and by the pair."""

    num_texts: int
    num_tokens: int
    differences: tuple[TextDifference, ...]
    acceptance_rate: float  # 0 if nothing was proposed
    tokens_per_round: float
    alone_s: float
    """Wall time, one stream at a time."""
    speculative_s: float

    @property
    def is_lossless(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class DistributionCheck:
    """One request with many seeds, with and without drafts."""

    num_texts: int  # on either side
    p_value: float

    @property
    def is_lossless(self) -> bool:
        return self.p_value >= SIGNIFICANCE


def check_texts(
    pair: EnginePair,
    requests: Sequence[ReferenceRequest],
    schedule: DraftSchedule,
    on_text: Callable[[], object] = lambda: None,
) -> TextCheck:
    """Write every request alone, then together. `on_text` is called 2 * len(requests) times."""
    start = time.perf_counter()
    alone = pair.write_alone(requests, on_text)
    middle = time.perf_counter()
    speculative = pair.write(requests, schedule, on_text)
    end = time.perf_counter()
    num_proposed = sum(text.num_proposed for text in speculative)
    num_tokens = sum(len(text.tokens) for text in speculative)
    return TextCheck(
        num_texts=len(requests),
        num_tokens=num_tokens,
        differences=tuple(_differences(alone, speculative)),
        acceptance_rate=sum(text.num_accepted for text in speculative) / max(1, num_proposed),
        tokens_per_round=num_tokens / sum(text.num_rounds for text in speculative),
        alone_s=middle - start,
        speculative_s=end - middle,
    )


def check_distribution(
    pair: EnginePair,
    request: ReferenceRequest,
    schedule: DraftSchedule,
    num_texts: int,
    on_text: Callable[[], object] = lambda: None,
) -> DistributionCheck:
    """Chi-square of the request's first tokens. `on_text` is called 2 * num_texts times."""
    return DistributionCheck(num_texts, distribution_p_value(pair, request, schedule, num_texts, on_text))


def _differences(alone: Sequence[PairText], speculative: Sequence[PairText]) -> list[TextDifference]:
    found = []
    for i, (one, other) in enumerate(zip(alone, speculative, strict=True)):
        position = first_difference(one.tokens, other.tokens)
        if position is not None:
            found.append(TextDifference(i, position, _at(one.tokens, position), _at(other.tokens, position)))
    return found


def _at(tokens: tuple[int, ...], position: int) -> int | None:
    return tokens[position] if position < len(tokens) else None
