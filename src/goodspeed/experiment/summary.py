"""Figures over replications: confidence intervals, and arms compared seed by seed.

Replications of one arm differ by seed alone and are independent, so Student's t applies to their figures. The same seed
gives every arm the same questions, luck and links (common random numbers), so arms are compared by paired differences:
what the seed brought drops out.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from goodspeed.errors import ConfigError
from goodspeed.experiment.metrics import FIGURES, Figures
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference, paired_ratio


@dataclass(frozen=True, slots=True)
class Summary:
    """One arm: 95% confidence intervals of means over replications; infinite from a single one."""

    num_replications: int
    figures: dict[str, ConfidenceInterval]  # those that every replication has
    goodputs: dict[str, ConfidenceInterval]  # by client


@dataclass(frozen=True, slots=True)
class Comparison:
    """One arm beside the first, over the seeds that both have."""

    num_pairs: int
    differences: dict[str, ConfidenceInterval]
    ratios: dict[str, ConfidenceInterval]  # geometric means; only of figures that are always positive


@dataclass(frozen=True, slots=True)
class Precision:
    """A wish: the interval of a figure is within so much of its mean, to either side. Raises ConfigError."""

    figure: str
    within: float  # 0.02: 2%

    def __post_init__(self) -> None:
        FIGURES[self.figure]
        if not 0.0 < self.within < 1.0:
            raise ConfigError(
                f"precision of {self.figure} is {self.within:.0%}, expected more than 0% and less than 100%"
            )

    @classmethod
    def parse(cls, text: str) -> "Precision":
        """Of 'goodput=2%'. Raises ConfigError."""
        figure, _, share = text.partition("=")
        try:
            within = float(share.removesuffix("%")) / 100
        except ValueError:
            raise ConfigError(f"precision is {text!r}, expected FIGURE=X% such as goodput=2%") from None
        return cls(figure.strip(), within)

    def is_reached(self, replications: Sequence[Figures]) -> bool:
        """False too if a replication does not have the figure."""
        found = summarise(replications).figures.get(self.figure)
        return found is not None and found.high - found.mean <= self.within * abs(found.mean)


def summarise(replications: Sequence[Figures]) -> Summary:
    """At least one replication."""
    return Summary(
        num_replications=len(replications),
        figures=_intervals([one.values for one in replications], FIGURES),
        goodputs=_intervals([one.goodputs for one in replications], replications[0].goodputs),
    )


def compare(arm: Sequence[Figures], baseline: Sequence[Figures]) -> Comparison:
    """Raises ConfigError if they share no seed."""
    theirs = {one.seed: one.values for one in baseline}
    pairs = [(one.values, theirs[one.seed]) for one in arm if one.seed in theirs]
    if not pairs:
        raise ConfigError("two arms have no seed in common: there is nothing to pair")
    columns = {name: _columns(pairs, name) for name in FIGURES if all(name in a and name in b for a, b in pairs)}
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
