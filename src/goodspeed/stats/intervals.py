"""Confidence intervals of a mean over few repetitions, with Student's t distribution."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

T_975 = (
    *(12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228),
    *(2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086),
    *(2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042),
)
"""0.975 quantile of Student's t for 1, 2, ... 30 degrees of freedom."""
NORMAL_975 = 1.95996


@dataclass(frozen=True, slots=True)
class ConfidenceInterval:
    """A mean and its two-sided 95% confidence interval, which is infinite for a single value."""

    mean: float
    low: float
    high: float


def interval(values: Sequence[float]) -> ConfidenceInterval:
    """The interval of the mean of independent values; at least one value."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return ConfidenceInterval(mean, -math.inf, math.inf)
    variance = math.fsum((value - mean) ** 2 for value in values) / (n - 1)
    half = t_quantile(n - 1) * math.sqrt(variance / n)
    return ConfidenceInterval(mean, mean - half, mean + half)


def paired_difference(values: Sequence[float], others: Sequence[float]) -> ConfidenceInterval:
    """The interval of the mean of values[i] - others[i]; effects common to a pair, such as its prompts, cancel."""
    return interval([value - other for value, other in zip(values, others, strict=True)])


def paired_ratio(values: Sequence[float], others: Sequence[float]) -> ConfidenceInterval:
    """The interval of the geometric mean of values[i] / others[i]; all must be positive."""
    logs = paired_difference([math.log(value) for value in values], [math.log(other) for other in others])
    return ConfidenceInterval(
        math.exp(logs.mean), math.exp(logs.low), math.exp(logs.high) if logs.high < 700 else math.inf
    )


def t_quantile(degrees_of_freedom: int) -> float:
    """0.975 quantile; beyond the table by the expansion of Abramowitz and Stegun, 26.7.5."""
    if degrees_of_freedom <= len(T_975):
        return T_975[degrees_of_freedom - 1]
    z, n = NORMAL_975, degrees_of_freedom
    return z + (z**3 + z) / (4 * n) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * n**2)
