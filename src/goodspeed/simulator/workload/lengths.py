"""Distributions of prompt and answer lengths. None is truncated in a way that shifts its mean."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from goodspeed.config import config_dataclass, option, table
from goodspeed.errors import ConfigError
from goodspeed.registry import Registry


class Lengths(Protocol):
    """A distribution of lengths."""

    def draw(self, rng: np.random.Generator) -> int:
        """A length in tokens, at least 1."""


@config_dataclass
class FixedLength:
    """Always the same length."""

    num_tokens: int = option(100, "every length, in tokens", ge=1)

    def draw(self, rng: np.random.Generator) -> int:  # noqa: ARG002
        return self.num_tokens


@config_dataclass
class UniformLength:
    """Every length of a range is equally likely."""

    low: int = option(50, "shortest length, in tokens", ge=1)
    high: int = option(150, "longest length, in tokens", ge=1)

    def __post_init__(self) -> None:
        if self.high < self.low:
            raise ConfigError(f"high is {self.high}, expected at least the low of {self.low}")

    def draw(self, rng: np.random.Generator) -> int:
        return int(rng.integers(self.low, self.high, endpoint=True))


@config_dataclass
class LognormalLength:
    """1 and a log-normal rest, randomly rounded: mean and spread are as configured, nothing is cut at 1.

    Rounding adds at most 1/4 to the variance.
    """

    mean: float = option(100.0, "mean length, in tokens", ge=1.0)
    cv: float = option(0.8, "coefficient of variation (standard deviation / mean)", ge=0.0)

    def draw(self, rng: np.random.Generator) -> int:
        rest = self.mean - 1.0
        if rest == 0.0:
            return 1
        variance = math.log1p((self.cv * self.mean / rest) ** 2)
        length = rest * math.exp(math.sqrt(variance) * rng.standard_normal() - variance / 2.0)
        return 1 + math.floor(length + rng.random())


@config_dataclass
class EmpiricalConfig:
    """A file of observed lengths."""

    file: str = option("", "CSV or JSONL file with a length in each row, or a text file with one per line")
    column: str = option("", "column of the CSV file or key of the JSONL file")

    def __post_init__(self) -> None:
        if self.column and not self.file:
            raise ConfigError(f"file is empty, expected a file with the column {self.column!r}")


class EmpiricalLength:
    """A random one of the lengths in a file. Raises ConfigError if the file cannot be read."""

    def __init__(self, config: EmpiricalConfig) -> None:
        self._lengths = read_lengths(Path(config.file), config.column)

    def draw(self, rng: np.random.Generator) -> int:
        return self._lengths[int(rng.integers(len(self._lengths)))]


@config_dataclass
class LengthConfig:
    """The distribution of a length. Only the table of the chosen distribution is used."""

    distribution: str = option("lognormal", "distribution of the length", choices=lambda: LENGTHS)
    fixed: FixedLength = table(FixedLength)
    uniform: UniformLength = table(UniformLength)
    lognormal: LognormalLength = table(LognormalLength)
    empirical: EmpiricalConfig = table(EmpiricalConfig)


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
    """The configured distribution. Raises ConfigError if its file cannot be read."""
    return LENGTHS[config.distribution](config)


def read_lengths(path: Path, column: str) -> list[int]:
    """The lengths in a file: at least one, all at least 1. Raises ConfigError."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            if path.suffix == ".csv":
                numbers = [int(row[column]) for row in csv.DictReader(file)]
            elif path.suffix == ".jsonl":
                numbers = [int(json.loads(line)[column]) for line in file]
            else:
                numbers = [int(line) for line in file if line.strip()]
    except KeyError as error:
        raise ConfigError(f"{path} has no column {error}") from error
    except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise ConfigError(f"cannot read lengths from {str(path)!r}: {error}") from error
    if not numbers or min(numbers) < 1:
        raise ConfigError(f"{path} needs at least one length, all at least 1")
    return numbers
