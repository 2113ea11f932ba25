"""The checks of `goodspeed verify-lossless`: equal texts (greedy, coupled) or equal distributions (rejection)."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.engine.reference import ReferenceRequest
from goodspeed.lossless.pair import DraftSchedule, EnginePair, PairText, distribution_p_value, first_difference

SIGNIFICANCE = 1e-4
"""The probability that a lossless pair fails a distribution check, over random seeds."""


@dataclass(frozen=True, slots=True)
class TextDifference:
    """The first difference between the baseline text and the speculative text of a request."""

    text: int  # index of the request
    position: int  # in the answer
    baseline: int | None  # token; None: the text ends before
    speculative: int | None


@dataclass(frozen=True, slots=True)
class TextCheck:
    """The comparison of baseline and speculative texts for the same requests."""

    num_texts: int
    num_tokens: int
    differences: tuple[TextDifference, ...]
    acceptance_rate: float  # 0 if nothing was proposed
    tokens_per_round: float
    baseline_s: float
    """Wall time of the baseline, one stream at a time."""
    speculative_s: float

    @property
    def is_lossless(self) -> bool:
        return not self.differences


@dataclass(frozen=True, slots=True)
class DistributionCheck:
    """The comparison of text distributions with and without drafts, for one request with many seeds."""

    num_texts: int  # with drafts, and as many without
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
    """Generate every request without drafts, then with drafts. `on_text` is called 2 * len(requests) times."""
    start = time.perf_counter()
    baseline = pair.generate_baseline(requests, on_text)
    middle = time.perf_counter()
    speculative = pair.generate(requests, schedule, on_text)
    end = time.perf_counter()
    num_proposed = sum(text.num_proposed for text in speculative)
    num_tokens = sum(len(text.tokens) for text in speculative)
    return TextCheck(
        num_texts=len(requests),
        num_tokens=num_tokens,
        differences=tuple(_differences(baseline, speculative)),
        acceptance_rate=sum(text.num_accepted for text in speculative) / max(1, num_proposed),
        tokens_per_round=num_tokens / sum(text.num_rounds for text in speculative),
        baseline_s=middle - start,
        speculative_s=end - middle,
    )


def check_distribution(
    pair: EnginePair,
    request: ReferenceRequest,
    schedule: DraftSchedule,
    num_texts: int,
    on_text: Callable[[], object] = lambda: None,
) -> DistributionCheck:
    """A chi-square test of the first tokens of the answer. `on_text` is called 2 * num_texts times."""
    return DistributionCheck(num_texts, distribution_p_value(pair, request, schedule, num_texts, on_text))


def _differences(baseline: Sequence[PairText], speculative: Sequence[PairText]) -> list[TextDifference]:
    found = []
    for i, (expected, text) in enumerate(zip(baseline, speculative, strict=True)):
        position = first_difference(expected.tokens, text.tokens)
        if position is not None:
            found.append(TextDifference(i, position, _at(expected.tokens, position), _at(text.tokens, position)))
    return found


def _at(tokens: tuple[int, ...], position: int) -> int | None:
    return tokens[position] if position < len(tokens) else None
