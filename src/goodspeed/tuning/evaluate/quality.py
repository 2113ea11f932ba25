"""Acceptance of a draft engine on recorded answers: agreement, and acceptance by position, window and category."""

import itertools
import math
import operator
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.teacher_forcing import TeacherForced, teacher_force_all
from goodspeed.stats.ratio_estimate import RatioEstimate, ratio_of_sums
from goodspeed.tuning.data.scored_answer import ScoredAnswer
from goodspeed.tuning.evaluate.reliability import ReliabilityDiagram, reliability_diagram
from goodspeed.tuning.evaluate.renewal import ExpectedRounds, expected_rounds

WINDOWS = (1, 2, 3, 4, 5, 6, 7, 8)
WINDOW = 4  # for results at one window
MAX_WINDOW = max(WINDOWS)
ForcedAnswer = TeacherForced[ScoredAnswer]


@dataclass(frozen=True, slots=True)
class CategoryQuality:
    """Acceptance on the answers of some categories."""

    num_answers: int
    agreement: RatioEstimate
    accepted_per_round: RatioEstimate  # at WINDOW


@dataclass(frozen=True, slots=True)
class Quality:
    """Acceptance of one draft engine under one rule and temperature."""

    rule: str
    temperature: float
    num_answers: int
    num_tokens: int
    agreement: RatioEstimate
    """Share of tokens that the engine drafts given the answer before them (rejection: mean probability)."""
    drafted: float
    """Share of tokens for which the engine drafts at all."""
    accepted_per_round: dict[int, RatioEstimate]
    """Accepted draft tokens, by window; the target's own token does not count."""
    acceptance: tuple[RatioEstimate, ...]
    """By position in a draft of MAX_WINDOW tokens: Pr(accepted | all before it are)."""
    survival: tuple[float, ...]
    """Pr(the first j tokens are accepted): the cumulative product of `acceptance`."""
    categories: dict[str, CategoryQuality]
    unseen: CategoryQuality | None
    """All categories that the draft was not trained on; None if there are none, or if that is unknown."""
    reliability: ReliabilityDiagram


def quality(
    engine: DraftEngine,
    answers: Sequence[ScoredAnswer],
    num_streams: int,
    on_answer: Callable[[], object] = lambda: None,
    unseen: Collection[str] = (),
) -> Quality:
    """Evaluate an engine on answers of one rule and temperature, at least one. It learns from them, as in service.

    `unseen`: categories that the draft was not trained on.
    """
    return quality_of(teacher_force_all(engine, answers, num_streams, on_answer), unseen)


def quality_of(forced_answers: Sequence[ForcedAnswer], unseen: Collection[str] = ()) -> Quality:
    """Summarise teacher-forced answers, at least one."""
    sampling = forced_answers[0].answer.sampling
    longest = [expected_rounds(forced.acceptance_probs, MAX_WINDOW) for forced in forced_answers]
    acceptance = tuple(_at_position(forced_answers, longest, position) for position in range(MAX_WINDOW))
    drafted = [
        (confidence, prob)
        for forced in forced_answers
        for confidence, prob in zip(forced.confidences, forced.acceptance_probs, strict=True)
        if confidence is not None
    ]
    num_tokens = sum(len(forced.acceptance_probs) for forced in forced_answers)
    unseen_answers = [forced for forced in forced_answers if forced.answer.category in unseen]
    return Quality(
        rule=sampling.rule.name.lower(),
        temperature=sampling.temperature,
        num_answers=len(forced_answers),
        num_tokens=num_tokens,
        agreement=_agreement(forced_answers),
        drafted=len(drafted) / num_tokens,
        accepted_per_round={window: _accepted(forced_answers, window) for window in WINDOWS},
        acceptance=acceptance,
        survival=_cumulative_product(acceptance),
        categories={name: _category_quality(part) for name, part in sorted(_by_category(forced_answers).items())},
        unseen=_category_quality(unseen_answers) if unseen_answers else None,
        reliability=reliability_diagram(drafted),
    )


def _by_category(forced_answers: Sequence[ForcedAnswer]) -> dict[str, list[ForcedAnswer]]:
    parts: dict[str, list[ForcedAnswer]] = {}
    for forced in forced_answers:
        parts.setdefault(forced.answer.category, []).append(forced)
    return parts


def _category_quality(forced_answers: Sequence[ForcedAnswer]) -> CategoryQuality:
    return CategoryQuality(len(forced_answers), _agreement(forced_answers), _accepted(forced_answers, WINDOW))


def _agreement(forced_answers: Sequence[ForcedAnswer]) -> RatioEstimate:
    return ratio_of_sums(
        (forced.answer.prompt, sum(forced.acceptance_probs), len(forced.acceptance_probs)) for forced in forced_answers
    )


def _accepted(forced_answers: Sequence[ForcedAnswer], window: int) -> RatioEstimate:
    rounds = [(forced.answer.prompt, expected_rounds(forced.acceptance_probs, window)) for forced in forced_answers]
    return ratio_of_sums((prompt, expected.num_accepted, expected.num_rounds) for prompt, expected in rounds)


def _at_position(
    forced_answers: Sequence[ForcedAnswer], rounds: Sequence[ExpectedRounds], position: int
) -> RatioEstimate:
    pairs = zip(forced_answers, rounds, strict=True)
    return ratio_of_sums(
        (forced.answer.prompt, expected.accepted[position], expected.reached[position]) for forced, expected in pairs
    )


def _cumulative_product(acceptance: Sequence[RatioEstimate]) -> tuple[float, ...]:
    rates = [0.0 if math.isnan(rate.value) else rate.value for rate in acceptance]  # NaN: no draft reached it
    return tuple(itertools.accumulate(rates, operator.mul))
