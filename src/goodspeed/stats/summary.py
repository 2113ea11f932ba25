"""Summary statistics and fairness measures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A metric over repetitions."""

    median: float
    min: float
    max: float
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """The spread of at least one value."""
    return Spread(quantile(values, 0.5), min(values), max(values), tuple(values))


def quantile(values: Sequence[float], share: float) -> float:
    """Linear interpolation between order statistics; NaN without values. `share` is 0..1.

    Infinite values are allowed: numpy.quantile returns NaN between two of them.
    """
    if not values:
        return math.nan
    ordered = sorted(values)
    below = math.floor(share * (len(ordered) - 1))
    above = min(below + 1, len(ordered) - 1)
    weight = share * (len(ordered) - 1) - below
    if weight == 0.0 or ordered[below] == ordered[above]:
        return ordered[below]
    return ordered[below] * (1 - weight) + ordered[above] * weight


def jain_index(values: Sequence[float]) -> float:
    """(sum x)^2 / (n sum x^2): 1 if all are equal, 1/n if only one is nonzero (Jain, Chiu, Hawe 1984)."""
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else math.nan


def sum_log(values: Sequence[float]) -> float:
    """Sum of natural logarithms, the utility of proportional fairness; -inf if a value is 0."""
    return math.fsum(math.log(value) if value > 0 else -math.inf for value in values)


def ratio(part: float, whole: float) -> float:
    """part / whole; NaN if whole is 0."""
    return part / whole if whole else math.nan
