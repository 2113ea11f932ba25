"""Pearson's chi-square test that two samples come from one distribution."""

import math
from collections import Counter

MIN_PER_CLASS = 10  # values that are rarer in both samples together are one class


def two_sample_p_value(first: Counter[int], second: Counter[int]) -> float:
    """Probability of a difference at least as large if both samples have one distribution. Neither may be empty."""
    classes = _classes(first, second)
    if len(classes) < 2:
        return 1.0
    num_first, num_second = sum(first.values()), sum(second.values())
    ratio = math.sqrt(num_second / num_first)
    statistic = sum((ratio * a - b / ratio) ** 2 / (a + b) for a, b in classes)
    return _tail(statistic, len(classes) - 1)


def _classes(first: Counter[int], second: Counter[int]) -> list[tuple[int, int]]:
    common, rare = [], (0, 0)
    for value in first.keys() | second.keys():
        counts = first[value], second[value]
        if sum(counts) >= MIN_PER_CLASS:
            common.append(counts)
        else:
            rare = (rare[0] + counts[0], rare[1] + counts[1])
    return [*common, rare] if sum(rare) > 0 else common


def _tail(statistic: float, degrees: int) -> float:
    """Probability that a chi-square variable exceeds the statistic; a finite sum for integer degrees of freedom."""
    half = statistic / 2.0
    if half == 0.0:
        return 1.0
    odd = 0.5 * (degrees % 2)
    steps = (odd + j for j in range(degrees // 2))
    total = math.fsum(math.exp(step * math.log(half) - half - math.lgamma(step + 1.0)) for step in steps)
    return total + (math.erfc(math.sqrt(half)) if odd else 0.0)
