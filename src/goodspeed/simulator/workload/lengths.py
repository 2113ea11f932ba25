"""How long prompts and answers are. No distribution is cut in a way that shifts its mean."""

import csv
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from goodspeed.config import option, table
from goodspeed.errors import ConfigError
from goodspeed.registry import Registry
from goodspeed.simulator.ranges import at_least


class Lengths(Protocol):
    """A distribution of lengths."""

    def draw(self, rng: np.random.Generator) -> int:
        """Tokens, at least 1."""


@dataclass(frozen=True, slots=True)
class FixedLength:
    """Always the same. Raises ConfigError for values out of range."""

    num_tokens: int = option(100, "every length")

    def __post_init__(self) -> None:
        at_least("fixed.num_tokens", self.num_tokens, 1)

    def draw(self, rng: np.random.Generator) -> int:  # noqa: ARG002
        return self.num_tokens


@dataclass(frozen=True, slots=True)
class UniformLength:
    """Each length in a range as likely as any other. Raises ConfigError for values out of range."""

    low: int = option(50, "shortest")
    high: int = option(150, "longest")

    def __post_init__(self) -> None:
        at_least("uniform.low", self.low, 1)
        at_least("uniform.high", self.high, self.low)

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high, endpoint=True))


@dataclass(frozen=True, slots=True)
class LognormalLength:
    """1 and a log-normal rest, rounded up or down by chance: mean and spread are as asked, nothing is cut at 1.

    Rounding adds at most 1/4 to the variance. Raises ConfigError for values out of range.
    """

    mean: float = option(100.0, "mean, in tokens")
    cv: float = option(0.8, "standard deviation / mean")

    def __post_init__(self) -> None:
        at_least("lognormal.mean", self.mean, 1.0)
        at_least("lognormal.cv", self.cv, 0.0)

    def draw(self, rng: np.random.Generator) -> int:
        rest = self.mean - 1.0
        if rest == 0.0:
            return 1
        variance = math.log1p((self.cv * self.mean / rest) ** 2)
        length = rest * math.exp(math.sqrt(variance) * rng.standard_normal() - variance / 2.0)
        return 1 + math.floor(length + rng.random())


@dataclass(frozen=True, slots=True)
class EmpiricalConfig:
    """Raises ConfigError for values out of range."""

    file: str = option("", "CSV or JSONL of which each row has a length, or a text file with one a line")
    column: str = option("", "CSV: the column; JSONL: the key")

    def __post_init__(self) -> None:
        if self.column and not self.file:
            raise ConfigError(f"empirical.file is empty, expected a file with the column {self.column!r}")


class EmpiricalLength:
    """One of the lengths in a file, each as likely as any other. Raises ConfigError if it cannot be read."""

    def __init__(self, config: EmpiricalConfig) -> None:
        self._lengths = read_lengths(Path(config.file), config.column)

    def draw(self, rng: np.random.Generator) -> int:
        return self._lengths[int(rng.integers(len(self._lengths)))]


@dataclass(frozen=True, slots=True)
class LengthConfig:
    """Which distribution; only the chosen one's table matters. Raises ConfigError for an unknown one."""

    distribution: str = option("lognormal", "fixed, uniform, lognormal or empirical")
    fixed: FixedLength = table(FixedLength)
    uniform: UniformLength = table(UniformLength)
    lognormal: LognormalLength = table(LognormalLength)
    empirical: EmpiricalConfig = table(EmpiricalConfig)

    def __post_init__(self) -> None:
        LENGTHS[self.distribution]


LENGTHS: Registry[Callable[[LengthConfig], Lengths]] = Registry(
    "length distribution",
    {
        "fixed": lambda config: config.fixed,
        "uniform": lambda config: config.uniform,
        "lognormal": lambda config: config.lognormal,
        "empirical": lambda config: EmpiricalLength(config.empirical),
    },
)


def lengths(config: LengthConfig) -> Lengths:
    """The distribution that the config describes. Raises ConfigError if its file cannot be read."""
    return LENGTHS[config.distribution](config)


def read_lengths(path: Path, column: str) -> list[int]:
    """At least one, all at least 1. Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            if path.suffix == ".csv":
                found = [int(row[column]) for row in csv.DictReader(file)]
            elif path.suffix == ".jsonl":
                found = [int(json.loads(line)[column]) for line in file]
            else:
                found = [int(line) for line in file if line.strip()]
    except KeyError as error:
        raise ConfigError(f"{path} has no column {error}") from error
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read lengths from {str(path)!r}: {error}") from error
    if not found or min(found) < 1:
        raise ConfigError(f"{path} needs at least one length, all at least 1")
    return found
