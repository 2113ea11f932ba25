"""How much KV memory open streams will come to need: lengths of answers by those that have ended and those that run."""

import numpy as np
import pytest

from goodspeed.verifier.core.memory_forecast import NUM_REMEMBERED, AnswerLengths, Growth, LengthForecast, peak_tokens


def test_nothing_less_than_max_tokens_is_expected_while_nothing_is_known() -> None:
    assert LengthForecast([], []).expected_remaining(30, 100) == 70.0
    assert LengthForecast([], [10, 50]).expected_remaining(30, 100) == 70.0


def test_without_running_answers_it_is_the_mean_of_those_that_went_on_and_of_one_that_never_ends() -> None:
    forecast = LengthForecast([10, 40, 40, 90, 300], [])
    assert forecast.expected_remaining(0, 100) == pytest.approx((10 + 40 + 40 + 90 + 100 + 100) / 6)
    assert forecast.expected_remaining(40, 100) == pytest.approx((50 + 60 + 60) / 3)
    assert forecast.expected_remaining(95, 100) == pytest.approx(5)


def test_answers_that_still_run_are_at_least_as_long() -> None:
    """By hand: one of four ends at 10, one of the three others (one was seen up to 20 only) at 30."""
    forecast = LengthForecast([10, 30], [20])
    assert forecast.expected_remaining(0, 50) == pytest.approx(10 + 0.75 * 20 + 0.75 * 0.5 * 20)
    assert forecast.expected_remaining(10, 50) == pytest.approx(20 + 0.5 * 20)


def test_answers_that_began_together_are_not_taken_for_short_when_the_first_ones_end() -> None:
    """64 answers with a mean of 200 tokens run in step; after 100 tokens about four in ten have ended."""
    lengths = np.random.default_rng(1).exponential(200.0, 64)
    ended = lengths[lengths < 100].round().tolist()
    alone = LengthForecast(ended, []).expected_remaining(0, 1000)
    censored = LengthForecast(ended, [100] * (64 - len(ended))).expected_remaining(0, 1000)
    assert alone < 100.0 < np.minimum(lengths, 1000).mean() < censored


def test_the_latest_answers_are_remembered_and_cut_ones_go_on() -> None:
    answers = AnswerLengths()
    for _ in range(3):
        answers.observe(5000, is_cut=False)
    for _ in range(NUM_REMEMBERED - 1):
        answers.observe(20, is_cut=False)
    answers.observe(50, is_cut=True)
    mean = (20 * (NUM_REMEMBERED - 1) + 2 * 100) / (NUM_REMEMBERED + 1)
    assert answers.forecast([]).expected_remaining(0, 100) == pytest.approx(mean)
    assert answers.forecast([]).expected_remaining(20, 100) == pytest.approx(80.0)


def test_peak_is_reached_when_a_stream_ends() -> None:
    assert peak_tokens([Growth(10, 5.0), Growth(20, 1.0)]) == 32.0  # both grow by one, then the second is gone
    assert peak_tokens([Growth(10, 30.0), Growth(20, 1.0)]) == 40.0
    assert peak_tokens([]) == 0.0
