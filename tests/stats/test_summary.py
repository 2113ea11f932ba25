"""Figures of merit on known numbers."""

import math

import pytest

from goodspeed.stats.summary import (
    Spread,
    jain_index,
    quantile,
    ratio,
    spread,
    sum_log,
)


def test_jain_index_of_equal_shares_is_one() -> None:
    assert jain_index([7.0, 7.0, 7.0, 7.0]) == pytest.approx(1.0)


def test_jain_index_of_one_winner_is_one_nth() -> None:
    assert jain_index([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)


def test_jain_index_of_unequal_shares() -> None:
    assert jain_index([1.0, 2.0, 3.0]) == pytest.approx(36 / (3 * 14))


def test_jain_index_of_nothing_is_nan() -> None:
    assert math.isnan(jain_index([0.0, 0.0]))


def test_sum_log_is_natural() -> None:
    assert sum_log([math.e, math.e**2]) == pytest.approx(3.0)
    assert sum_log([1.0, 0.0]) == -math.inf


def test_quantiles_are_interpolated() -> None:
    assert quantile([4.0, 1.0, 3.0, 2.0], 0.5) == pytest.approx(2.5)
    assert quantile([float(n) for n in range(101)], 0.99) == pytest.approx(99.0)
    assert quantile([5.0], 0.99) == 5.0
    assert math.isnan(quantile([], 0.5))
    assert quantile([-math.inf, -math.inf], 0.5) == -math.inf
    assert quantile([1.0, -math.inf, 2.0], 0.5) == 1.0
    assert quantile([1.0, 2.0], 1.0) == 2.0


def test_spread_keeps_the_order_of_values() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0, (3.0, 1.0, 2.0))


def test_ratio_without_a_whole_is_nan() -> None:
    assert ratio(1.0, 4.0) == 0.25
    assert math.isnan(ratio(0.0, 0.0))
