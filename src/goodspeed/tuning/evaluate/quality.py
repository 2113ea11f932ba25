"""How well a draft engine drafts for recorded answers: agreement, acceptance by place and window, by category."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.teacher_forcing import TeacherForced, teacher_force_all
from goodspeed.stats.ratio_estimate import RatioEstimate, ratio_of_sums
from goodspeed.tuning.data.scored_answer import ScoredAnswer
from goodspeed.tuning.evaluate.reliability import ReliabilityDiagram, reliability_diagram
from goodspeed.tuning.evaluate.renewal import ExpectedRounds, expected_rounds

WINDOWS = (1, 2, 3, 4, 5, 6, 7, 8)
WINDOW = 4  # where one must stand for all
LONGEST = max(WINDOWS)


@dataclass(frozen=True, slots=True)
class CategoryQuality:
    """Of the answers of some categories."""

    num_answers: int
    agreement: RatioEstimate
    accepted_per_round: RatioEstimate  # at WINDOW


@dataclass(frozen=True, slots=True)
class Quality:
    """Of one draft engine under one rule."""

    rule: str
    temperature: float
    num_answers: int
    num_tokens: int
    agreement: RatioEstimate
    """AllocationProblem of tokens that it would have drafted, all before them being known (rejection: mean chance)."""
    drafted: float
    """AllocationProblem of tokens for which it drafts at all."""
    accepted_per_round: dict[int, RatioEstimate]
    """By window; without the target's own token."""
    acceptance: tuple[RatioEstimate, ...]
    """By place in a draft of LONGEST tokens: Pr(accepted | all before it are)."""
    survival: tuple[float, ...]
    """Pr(the first j tokens are accepted), the product of `acceptance`."""
    categories: dict[str, CategoryQuality]
    unseen: CategoryQuality | None
    """Of all categories together that the draft never learned from; None where that is not known, or none are."""
    reliability: ReliabilityDiagram


def quality(
    engine: DraftEngine,
    answers: Sequence[ScoredAnswer],
    num_streams: int,
    on_answer: Callable[[], object] = lambda: None,
    unseen: Collection[str] = (),
) -> Quality:
    """Of an engine, which learns meanwhile as it would live. All answers are of one rule; at least one.

    `unseen`: categories that the draft never learned from.
    """
    return quality_of(teacher_force_all(engine, answers, num_streams, on_answer), unseen)


def quality_of(judged: Sequence[TeacherForced[ScoredAnswer]], unseen: Collection[str] = ()) -> Quality:
    """What every position's chance of acceptance says."""
    sampling = judged[0].answer.sampling
    longest = [expected_rounds(one.acceptance_probs, LONGEST) for one in judged]
    acceptance = tuple(_at_place(judged, longest, place) for place in range(LONGEST))
    said = [(one, chance, confidence) for one in judged for chance, confidence in zip(*_columns(one), strict=True)]
    num_tokens = sum(len(one.acceptance_probs) for one in judged)
    strange = [one for one in judged if one.answer.category in unseen]
    return Quality(
        rule=sampling.rule.name.lower(),
        temperature=sampling.temperature,
        num_answers=len(judged),
        num_tokens=num_tokens,
        agreement=_agreement(judged),
        drafted=sum(confidence is not None for _, _, confidence in said) / num_tokens,
        accepted_per_round={window: _accepted(judged, window) for window in WINDOWS},
        acceptance=acceptance,
        survival=_product(acceptance),
        categories={name: _part(part) for name, part in sorted(_by_category(judged).items())},
        unseen=_part(strange) if strange else None,
        reliability=reliability_diagram(
            (confidence, chance) for _, chance, confidence in said if confidence is not None
        ),
    )


def _columns(one: TeacherForced[ScoredAnswer]) -> tuple[list[float], list[float | None]]:
    return one.acceptance_probs, one.confidences


def _by_category(judged: Sequence[TeacherForced[ScoredAnswer]]) -> dict[str, list[TeacherForced[ScoredAnswer]]]:
    parts: dict[str, list[TeacherForced[ScoredAnswer]]] = {}
    for one in judged:
        parts.setdefault(one.answer.category, []).append(one)
    return parts


def _part(judged: Sequence[TeacherForced[ScoredAnswer]]) -> CategoryQuality:
    return CategoryQuality(len(judged), _agreement(judged), _accepted(judged, WINDOW))


def _agreement(judged: Sequence[TeacherForced[ScoredAnswer]]) -> RatioEstimate:
    return ratio_of_sums((one.answer.prompt, sum(one.acceptance_probs), len(one.acceptance_probs)) for one in judged)


def _accepted(judged: Sequence[TeacherForced[ScoredAnswer]], window: int) -> RatioEstimate:
    rounds = [(one.answer.prompt, expected_rounds(one.acceptance_probs, window)) for one in judged]
    return ratio_of_sums((prompt, one.num_accepted, one.num_rounds) for prompt, one in rounds)


def _at_place(
    judged: Sequence[TeacherForced[ScoredAnswer]], rounds: Sequence[ExpectedRounds], place: int
) -> RatioEstimate:
    pairs = zip(judged, rounds, strict=True)
    return ratio_of_sums((one.answer.prompt, its.accepted[place], its.judged[place]) for one, its in pairs)


def _product(acceptance: Sequence[RatioEstimate]) -> tuple[float, ...]:
    survival, alive = [], 1.0
    for one in acceptance:
        alive *= one.value if one.value == one.value else 0.0  # NaN: no draft came so far
        survival.append(alive)
    return tuple(survival)
