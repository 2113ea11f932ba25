"""The contract of every registered length distribution, and their moments (bounds: 4 standard errors, fixed seeds)."""

import math
from pathlib import Path

import numpy as np
import pytest

from goodspeed.errors import ConfigError
from goodspeed.simulator.workload.lengths import (
    LENGTHS,
    EmpiricalConfig,
    FixedLength,
    LengthConfig,
    LognormalLength,
    UniformLength,
    lengths,
    read_lengths,
)

NUM = 20_000


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    path = tmp_path / "lengths.txt"
    path.write_text("3\n5\n5\n11\n")
    return path


def drawn(config: LengthConfig, num: int = NUM) -> list[int]:
    distribution, rng = lengths(config), np.random.default_rng(3)
    return [distribution.draw(rng) for _ in range(num)]


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_are_whole_and_depend_only_on_the_generator(name: str, numbers: Path) -> None:
    config = LengthConfig(name, empirical=EmpiricalConfig(str(numbers)))
    assert drawn(config, 100) == drawn(config, 100)
    assert all(isinstance(length, int) and length >= 1 for length in drawn(config, 100))


@pytest.mark.parametrize(("mean", "cv"), [(200.0, 0.8), (3.0, 0.5), (1.5, 2.0), (1.0, 1.0)])
def test_lognormal_lengths_have_the_configured_mean_and_spread_even_if_short(mean: float, cv: float) -> None:
    """Rounding adds at most 1/4 to the variance. Of a mean of 1 only 1 is left."""
    found = np.array(drawn(LengthConfig(lognormal=LognormalLength(mean, cv))))
    spread = cv * mean if mean > 1.0 else 0.0
    error = 4 * math.sqrt((spread**2 + 0.25) / NUM)
    assert abs(found.mean() - mean) < error if spread else set(found) == {1}
    if spread and cv < 1.0:  # heavier tails have no usable error of the variance
        assert 0.9 * spread**2 < found.var() < 1.1 * spread**2 + 0.25


def test_uniform_lengths_include_both_ends() -> None:
    found = drawn(LengthConfig("uniform", uniform=UniformLength(4, 8)))
    counts = np.bincount(found, minlength=10)
    assert counts[:4].sum() + counts[9:].sum() == 0
    assert np.all(np.abs(counts[4:9] / NUM - 0.2) < 4 * math.sqrt(0.16 / NUM))


def test_empirical_lengths_have_the_frequencies_of_the_file(numbers: Path) -> None:
    found = drawn(LengthConfig("empirical", empirical=EmpiricalConfig(str(numbers))))
    assert set(found) == {3, 5, 11}
    assert abs(found.count(5) / NUM - 0.5) < 4 * math.sqrt(0.25 / NUM)


def test_fixed_length_is_fixed() -> None:
    assert set(drawn(LengthConfig("fixed", fixed=FixedLength(7)), 10)) == {7}


def test_lengths_are_read_from_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("time,tokens\n1,30\n2,40\n")
    (tmp_path / "a.jsonl").write_text('{"tokens": 30}\n{"tokens": 40}\n')
    assert read_lengths(tmp_path / "a.csv", "tokens") == read_lengths(tmp_path / "a.jsonl", "tokens") == [30, 40]
    with pytest.raises(ConfigError, match="tokns"):
        read_lengths(tmp_path / "a.csv", "tokns")


@pytest.mark.parametrize("text", ["", "0\n", "x\n", "-3\n"])
def test_an_unusable_file_raises_an_error_that_names_it(text: str, tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_text(text)
    with pytest.raises(ConfigError, match=r"lengths\.txt"):
        read_lengths(tmp_path / "lengths.txt", "")
