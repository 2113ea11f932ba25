"""Ranges of a scenario's numbers: what lies outside is one ConfigError with key, value and what was expected."""

import math

from goodspeed.errors import ConfigError


def share(name: str, value: float) -> None:
    """0 to 1."""
    _expect(0.0 <= value <= 1.0, name, value, "0 to 1")


def positive(name: str, value: float) -> None:
    """More than 0, and finite."""
    _expect(0.0 < value < math.inf, name, value, "more than 0")


def at_least(name: str, value: float, least: float) -> None:
    """`least` or more, and finite."""
    _expect(least <= value < math.inf, name, value, f"{least:g} or more")


def _expect(is_met: bool, name: str, value: float, expected: str) -> None:
    if not is_met:  # so is NaN's every comparison
        raise ConfigError(f"{name} is {value}, expected {expected}")
