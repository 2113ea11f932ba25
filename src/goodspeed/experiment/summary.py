"""RunMetrics over replications: confidence intervals, and arms compared seed by seed.

Replications of one arm differ by seed alone and are independent, so Student's t applies to their metrics. The same seed
gives every arm the same questions, luck and links (common random numbers), so arms are compared by paired differences:
what the seed brought drops out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import METRICS, RunMetrics
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference, paired_ratio


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm: 95% confidence intervals of means over replications; infinite from a single one."""

    num_replications: int
    metrics: dict[str, ConfidenceInterval]  # those that every replication has
    goodputs: dict[str, ConfidenceInterval]  # by client


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm beside the first, over the seeds that both have."""

    num_pairs: int
    differences: dict[str, ConfidenceInterval]
    ratios: dict[str, ConfidenceInterval]  # geometric means; only of metrics that are always positive


@dataclass(frozen=True, slots=True)
class Precision:
    """A wish: the interval of a metric is within so much of its mean, to either side. Raises ConfigError."""

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
        """Of 'goodput=2%'. Raises ConfigError."""
        metric, _, share = text.partition("=")
        try:
            within = float(share.removesuffix("%")) / 100
        except ValueError:
            raise ConfigError(f"precision is {text!r}, expected FIGURE=X% such as goodput=2%") from None
        return cls(metric.strip(), within)

    def is_reached(self, replications: Sequence[RunMetrics]) -> bool:
        """False too if a replication does not have the metric."""
        found = summarise(replications).metrics.get(self.metric)
        return found is not None and found.high - found.mean <= self.within * abs(found.mean)


def summarise(replications: Sequence[RunMetrics]) -> Summary:
    """At least one replication."""
    return Summary(
        num_replications=len(replications),
        metrics=_intervals([one.values for one in replications], METRICS),
        goodputs=_intervals([one.goodputs for one in replications], replications[0].goodputs),
    )


def compare(arm: Sequence[RunMetrics], baseline: Sequence[RunMetrics]) -> Comparison:
    """Raises ConfigError if they share no seed."""
    theirs = {one.seed: one.values for one in baseline}
    pairs = [(one.values, theirs[one.seed]) for one in arm if one.seed in theirs]
    if not pairs:
        raise ConfigError("two arms have no seed in common: there is nothing to pair")
    columns = {name: _columns(pairs, name) for name in METRICS if all(name in a and name in b for a, b in pairs)}
    return Comparison(
        num_pairs=len(pairs),
        differences={name: paired_difference(mine, base) for name, (mine, base) in columns.items()},
        ratios={name: paired_ratio(mine, base) for name, (mine, base) in columns.items() if min(*mine, *base) > 0.0},
    )


def is_clear(difference: ConfidenceInterval) -> bool:
    """The interval does not hold 0."""
    return math.isfinite(difference.low) and (difference.low > 0.0 or difference.high < 0.0)


def _columns(
    pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]], name: str
) -> tuple[list[float], list[float]]:
    return [mine[name] for mine, _ in pairs], [theirs[name] for _, theirs in pairs]


def _intervals(rows: Sequence[Mapping[str, float]], names: Mapping[str, object]) -> dict[str, ConfidenceInterval]:
    return {name: interval([row[name] for row in rows]) for name in names if all(name in row for row in rows)}
