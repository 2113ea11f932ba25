"""Metrics over replications: confidence intervals, and comparisons of arms by seed.

Replications of one arm differ only in their seed and are independent, so Student's t applies to their metrics. Under
the same seed all arms see the same requests, acceptance traces and link delays (common random numbers). Arms are
therefore compared by paired differences, in which the influence of the seed cancels.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import METRICS, RunMetrics
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference, paired_ratio


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm: 95% confidence intervals of means over replications; infinite for a single replication."""

    num_replications: int
    metrics: dict[str, ConfidenceInterval]  # metrics that every replication has
    goodputs: dict[str, ConfidenceInterval]  # by client


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm compared with the first, over their common seeds."""

    num_pairs: int
    differences: dict[str, ConfidenceInterval]
    ratios: dict[str, ConfidenceInterval]  # geometric means; only for metrics that are always positive


@dataclass(frozen=True, slots=True)
class Precision:
    """The required half-width of a metric's interval, relative to its mean. Raises ConfigError."""

    metric: str
    within: float  # 0.02: 2%

    def __post_init__(self) -> None:
        METRICS[self.metric]
        if not 0.0 < self.within < 1.0:
            raise ConfigError(
                f"precision of {self.metric} is {self.within:.0%}, expected more than 0% and less than 100%"
            )

    @classmethod
    def parse(cls, text: str) -> "Precision":
        """Parse text such as 'goodput=2%'. Raises ConfigError."""
        metric, _, share = text.partition("=")
        try:
            within = float(share.removesuffix("%")) / 100
        except ValueError:
            raise ConfigError(f"precision is {text!r}, expected METRIC=X% such as goodput=2%") from None
        return cls(metric.strip(), within)

    def is_reached(self, replications: Sequence[RunMetrics]) -> bool:
        """Whether the interval is narrow enough; False if a replication lacks the metric."""
        estimate = summarise(replications).metrics.get(self.metric)
        return estimate is not None and estimate.high - estimate.mean <= self.within * abs(estimate.mean)


def summarise(replications: Sequence[RunMetrics]) -> Summary:
    """The summary of at least one replication."""
    return Summary(
        num_replications=len(replications),
        metrics=_intervals([run.values for run in replications], METRICS),
        goodputs=_intervals([run.goodputs for run in replications], replications[0].goodputs),
    )


def compare(arm: Sequence[RunMetrics], baseline: Sequence[RunMetrics]) -> Comparison:
    """Compare two arms. Raises ConfigError if they share no seed."""
    base_values = {run.seed: run.values for run in baseline}
    pairs = [(run.values, base_values[run.seed]) for run in arm if run.seed in base_values]
    if not pairs:
        raise ConfigError("two arms have no seed in common: there is nothing to pair")
    columns = {name: _columns(pairs, name) for name in METRICS if all(name in a and name in b for a, b in pairs)}
    return Comparison(
        num_pairs=len(pairs),
        differences={name: paired_difference(values, base) for name, (values, base) in columns.items()},
        ratios={
            name: paired_ratio(values, base) for name, (values, base) in columns.items() if min(*values, *base) > 0.0
        },
    )


def is_significant(difference: ConfidenceInterval) -> bool:
    """Whether the interval excludes 0."""
    return math.isfinite(difference.low) and (difference.low > 0.0 or difference.high < 0.0)


def _columns(
    pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], name: str
) -> tuple[list[float], list[float]]:
    return [values[name] for values, _ in pairs], [base[name] for _, base in pairs]


def _intervals(rows: Sequence[Mapping[str, float]], names: Mapping[str, object]) -> dict[str, ConfidenceInterval]:
    return {name: interval([row[name] for row in rows]) for name in names if all(name in row for row in rows)}
