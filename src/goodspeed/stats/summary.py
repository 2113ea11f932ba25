"""Figures of merit, on plain numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over repetitions."""

    median: float
    min: float
    max: float
    values: tuple[float, ...]


def spread(values: Sequence[float]) -> Spread:
    """At least one value."""
    return Spread(quantile(values, 0.5), min(values), max(values), tuple(values))


def quantile(values: Sequence[float], share: float) -> float:
    """Linearly interpolated between order statistics; NaN of nothing. `share` is 0..1; infinite values are allowed."""
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
    """(sum x)^2 / (n sum x^2): 1 when all are equal, 1/n when one has everything (Jain, Chiu, Hawe 1984)."""
    squares = math.fsum(value * value for value in values)
    return math.fsum(values) ** 2 / (len(values) * squares) if squares else math.nan


def sum_log(values: Sequence[float]) -> float:
    """Sum of natural logarithms: the utility that proportional fairness maximises; -inf if somebody got nothing."""
    return math.fsum(math.log(value) if value > 0 else -math.inf for value in values)


def ratio(part: float, whole: float) -> float:
    """part / whole, NaN when there is no whole."""
    return part / whole if whole else math.nan
