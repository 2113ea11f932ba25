"""Smoothed estimates."""

import pytest

from goodspeed.stats.ewma import DecayedMean, Ewma


def test_an_average_starts_at_its_first_observation() -> None:
    average = Ewma(0.25)
    assert (average.value, average.get(), average.get(default=7.0)) == (None, 0.0, 7.0)
    average.observe(4.0)
    average.observe(8.0)
    assert average.value == 5.0


def test_an_observed_zero_is_known() -> None:
    average = Ewma(0.25)
    average.observe(0.0)
    assert average.get(default=7.0) == 0.0


def test_an_observation_may_have_a_weight_of_its_own() -> None:
    average = Ewma(0.25)
    average.observe(4.0)
    average.observe(8.0, weight=0.5)
    assert average.value == 6.0


def test_observations_of_a_decayed_mean_weigh_as_much_as_their_counts() -> None:
    mean = DecayedMean(1 / 16)
    assert mean.get(default=1.0) == 1.0
    for _ in range(200):
        mean.observe(8.0, 8)
        mean.observe(0.0, 1)
    assert mean.get() == pytest.approx(8 / 9, abs=0.03)
