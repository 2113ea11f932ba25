"""Estimates of a level that changes slowly: recent observations count most."""

from typing import Final


class Ewma:
    """Exponentially weighted moving average that starts at its first observation."""

    __slots__ = ("_weight", "value")

    def __init__(self, weight: float) -> None:
        """`weight` of the latest observation, above 0 and at most 1."""
        self._weight: Final = weight
        self.value: float | None = None
        """None before the first observation."""

    def observe(self, value: float, weight: float | None = None) -> None:
        """Take in the latest observation; `weight` overrides the usual one for this observation."""
        if self.value is None:
            self.value = value
        else:
            self.value = self.value + (self._weight if weight is None else weight) * (value - self.value)

    def get(self, default: float = 0.0) -> float:
        """The average, or `default` before the first observation."""
        return default if self.value is None else self.value


class DecayedMean:
    """Sum of totals over sum of counts, both decayed with every observation.

    An observation weighs as much as its count: a short draft says less about the cost of a token than a long one.
    """

    __slots__ = ("_count", "_total", "_weight")

    def __init__(self, weight: float) -> None:
        """Every observation multiplies what is known before it by 1 - `weight`."""
        self._weight: Final = weight
        self._total = 0.0
        self._count = 0.0

    def observe(self, total: float, count: float) -> None:
        """Take in `count` items that sum to `total`."""
        self._total += total - self._weight * self._total
        self._count += count - self._weight * self._count

    def get(self, default: float = 0.0) -> float:
        """The mean of an item, or `default` while none was observed."""
        return self._total / self._count if self._count else default
