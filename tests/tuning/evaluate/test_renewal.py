"""ExpectedRounds, counted from where a draft would be accepted."""

import pytest

from goodspeed.tuning.evaluate.renewal import accepted_per_round


def test_rounds_accept_up_to_the_first_difference() -> None:
    answer = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert accepted_per_round([answer], 4) == pytest.approx((2 + 1 + 0) / 3)
    assert accepted_per_round([answer], 1) == pytest.approx((1 + 0 + 1 + 0) / 4)


def test_draft_that_is_always_right_fills_its_window() -> None:
    assert accepted_per_round([[1.0] * 10] * 2, 4) == 4
    assert accepted_per_round([[0.0] * 10], 4) == 0


def test_answers_weigh_by_their_rounds() -> None:
    assert accepted_per_round([[1.0] * 10, [0.0] * 8], 4) == pytest.approx((2 * 4 + 8 * 0) / (2 + 8))
