"""Pearson's chi-square test that two samples come from one distribution."""

import math
from collections import Counter

MIN_PER_CLASS = 10  # rarer values of both samples together count as one class


def two_sample_p_value(first: Counter[int], second: Counter[int]) -> float:
    """Chance of samples that differ as much or more, were both from one distribution. Neither may be empty."""
    classes = _classes(first, second)
    if len(classes) < 2:
        return 1.0
    num_first, num_second = sum(first.values()), sum(second.values())
    ratio = math.sqrt(num_second / num_first)
    statistic = sum((ratio * one - two / ratio) ** 2 / (one + two) for one, two in classes)
    return _tail(statistic, len(classes) - 1)


def _classes(first: Counter[int], second: Counter[int]) -> list[tuple[int, int]]:
    common, rare = [], (0, 0)
    for value in first.keys() | second.keys():
        one, two = first[value], second[value]
        if one + two >= MIN_PER_CLASS:
            common.append((one, two))
        else:
            rare = (rare[0] + one, rare[1] + two)
    return [*common, rare] if sum(rare) > 0 else common


def _tail(statistic: float, degrees: int) -> float:
    """Chance that a chi-square variable exceeds the statistic: a finite sum for whole degrees of freedom."""
    half = statistic / 2.0
    if half == 0.0:
        return 1.0
    odd = 0.5 * (degrees % 2)
    steps = (odd + j for j in range(degrees // 2))
    total = math.fsum(math.exp(step * math.log(half) - half - math.lgamma(step + 1.0)) for step in steps)
    return total + (math.erfc(math.sqrt(half)) if odd else 0.0)
