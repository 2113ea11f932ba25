"""The table of an evaluation: every arm relative to the oracle and to target-only mode, with intervals."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.awc.arms import TARGET_ONLY
from goodspeed.awc.evaluation import ORACLE, ArmOutcome, ScenarioOutcome
from goodspeed.stats.intervals import ConfidenceInterval, paired_ratio
from goodspeed.stats.summary import quantile

HEADERS = (
    "arm",
    "goodput / oracle",
    "worst tenth",
    "SLO-weighted / oracle",
    "goodput / target-only",
    "tokens/s / oracle",
    "poorest client",
    "mode changes a minute",
)


@dataclass(frozen=True, slots=True)
class ArmSummary:
    """One arm over all scenarios. Ratios are geometric means with 95% intervals over scenarios."""

    arm: str
    against_oracle: ConfidenceInterval
    worst_tenth: float
    """0.1 quantile of the ratio to the oracle."""
    weighted: ConfidenceInterval
    """SLO-weighted goodput, relative to the oracle."""
    against_target_only: ConfidenceInterval
    throughput: ConfidenceInterval
    """Tokens per second of all clients, relative to the oracle; scenarios in which both are positive."""
    poorest: float
    """Median over scenarios of the poorest client's goodput, relative to its own in target-only mode."""
    mode_changes_per_minute: float
    """Median over scenarios."""


def summarise(outcomes: Sequence[ScenarioOutcome]) -> list[ArmSummary]:
    """One summary per arm, in the order of the arms."""
    return [_summary(name, outcomes) for name in (arm.arm for arm in outcomes[0].arms)]


def rows(summaries: Sequence[ArmSummary]) -> list[list[str]]:
    """The cells of the table, under HEADERS."""
    return [
        [
            one.arm,
            shown(one.against_oracle),
            f"{one.worst_tenth:.3f}",
            shown(one.weighted),
            shown(one.against_target_only),
            shown(one.throughput),
            f"{one.poorest:.2f}",
            f"{one.mode_changes_per_minute:.1f}",
        ]
        for one in summaries
    ]


def shown(value: ConfidenceInterval) -> str:
    """A ratio with the half-width of its interval."""
    return f"{value.mean:.3f} ± {(value.high - value.low) / 2:.3f}"


def _summary(name: str, outcomes: Sequence[ScenarioOutcome]) -> ArmSummary:
    ratios = _means(outcomes, name, ORACLE, lambda one: one.goodput)
    throughput = _means(outcomes, name, ORACLE, lambda one: one.tokens_per_s)
    own = [one for outcome in outcomes for one in outcome.arms if one.arm == name]
    return ArmSummary(
        arm=name,
        against_oracle=_interval(ratios),
        worst_tenth=quantile(ratios, 0.1),
        weighted=_interval(_means(outcomes, name, ORACLE, lambda one: one.weighted_goodput)),
        against_target_only=_interval(_means(outcomes, name, TARGET_ONLY.name, lambda one: one.goodput)),
        throughput=_interval(throughput),
        poorest=quantile([one.poorest for one in own], 0.5),
        mode_changes_per_minute=quantile([one.mode_changes_per_minute for one in own], 0.5),
    )


def _interval(ratios: Sequence[float]) -> ConfidenceInterval:
    return paired_ratio(ratios, [1.0] * len(ratios))


def _means(
    outcomes: Sequence[ScenarioOutcome], name: str, other: str, of: Callable[[ArmOutcome], float]
) -> list[float]:
    """The ratio of two arms in each scenario, geometric mean over its seeds."""
    logs: dict[int, list[float]] = {}
    for outcome in outcomes:
        arms = {one.arm: of(one) for one in outcome.arms}
        if arms[name] > 0.0 and arms[other] > 0.0:
            logs.setdefault(outcome.index, []).append(math.log(arms[name] / arms[other]))
    return [math.exp(math.fsum(each) / len(each)) for each in logs.values()]
