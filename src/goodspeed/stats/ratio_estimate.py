"""A ratio of sums with its standard error, where all values of one prompt are one observation."""

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RatioEstimate:
    """An estimate, its standard error, and the number of prompts."""

    value: float
    standard_error: float
    num_prompts: int

    def __str__(self) -> str:
        error = f" ± {self.standard_error:.3f}" if self.num_prompts > 1 else ""  # one prompt has no standard error
        return f"{self.value:.3f}{error}"


def ratio_of_sums(observations: Iterable[tuple[Hashable, float, float]]) -> RatioEstimate:
    """sum(part) / sum(whole) over (prompt, part, whole); NaN without observations.

    The error is that of the ratio estimator (Cochran 1977, section 6.4), because tokens of one answer are correlated.
    """
    sums: dict[Hashable, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for prompt, part, whole in observations:
        sums[prompt][0] += part
        sums[prompt][1] += whole
    n, total = len(sums), math.fsum(whole for _, whole in sums.values())
    if total == 0.0:
        return RatioEstimate(math.nan, math.nan, n)
    value = math.fsum(part for part, _ in sums.values()) / total
    squares = math.fsum((part - value * whole) ** 2 for part, whole in sums.values())
    error = math.sqrt(n / (n - 1) * squares) / total if n > 1 else math.nan
    return RatioEstimate(value, error, n)
