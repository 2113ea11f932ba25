"""Confidence intervals: coverage is checked as a statistic, pairing and ratios exactly."""

import math

import numpy as np
import pytest
import scipy.stats

from goodspeed.stats.intervals import interval, paired_difference, paired_ratio, t_quantile


def test_the_interval_covers_the_mean_in_95_of_100_samples_of_five() -> None:
    rng = np.random.default_rng(1)
    intervals = [interval(list(rng.normal(3.0, 2.0, size=5))) for _ in range(4000)]
    covered = sum(one.low <= 3.0 <= one.high for one in intervals) / 4000
    assert abs(covered - 0.95) < 0.0138  # 4 standard errors; with normal quantiles 0.88 would be covered


@pytest.mark.parametrize("degrees_of_freedom", [1, 2, 4, 9, 30, 31, 60, 1000])
def test_quantiles_are_students(degrees_of_freedom: int) -> None:
    expected = float(scipy.stats.t.ppf(0.975, degrees_of_freedom))
    assert t_quantile(degrees_of_freedom) == pytest.approx(expected, abs=6e-4)


def test_a_single_value_has_no_bounds() -> None:
    assert (interval([2.0]).low, interval([2.0]).high) == (-math.inf, math.inf)
    assert paired_ratio([2.0], [1.0]).high == math.inf


def test_common_effects_cancel_in_a_paired_difference() -> None:
    gain = paired_difference([11.0, 21.1, 30.9], [10.0, 20.0, 30.0])
    assert gain.mean == pytest.approx(1.0)
    assert gain.high - gain.low < 0.6
    assert interval([11.0, 21.1, 30.9]).high - interval([11.0, 21.1, 30.9]).low > 40


def test_a_ratio_is_symmetric_in_its_sides() -> None:
    ratio, inverse = paired_ratio([2.0, 3.0, 8.0], [1.0, 2.0, 3.0]), paired_ratio([1.0, 2.0, 3.0], [2.0, 3.0, 8.0])
    assert ratio.mean == pytest.approx((2.0 * 1.5 * 8 / 3) ** (1 / 3))
    assert (ratio.mean, ratio.low, ratio.high) == pytest.approx((1 / inverse.mean, 1 / inverse.high, 1 / inverse.low))
