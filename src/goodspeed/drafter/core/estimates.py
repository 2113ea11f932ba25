"""What a drafter measures of its links and of itself, smoothed."""

from dataclasses import dataclass
from typing import Final

NEWEST: Final = 0.2
"""Weight of the newest measurement."""


@dataclass(slots=True)
class Smoothed:
    """An exponential average that begins with its first measurement."""

    value: float | None = None

    def observe(self, measured: float) -> None:
        self.value = measured if self.value is None else self.value + NEWEST * (measured - self.value)

    def get(self, default: float = 0.0) -> float:
        """`default` before the first measurement."""
        return default if self.value is None else self.value
