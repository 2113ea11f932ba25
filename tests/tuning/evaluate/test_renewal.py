"""Accepted tokens per round, computed from the positions at which a draft is accepted."""

import pytest

from goodspeed.tuning.evaluate.renewal import accepted_per_round


def test_round_accepts_draft_tokens_up_to_the_first_rejection() -> None:
    answer = [1.0, 1.0, 0.0, 1.0, 0.0, 0.0]
    assert accepted_per_round([answer], 4) == pytest.approx((2 + 1 + 0) / 3)
    assert accepted_per_round([answer], 1) == pytest.approx((1 + 0 + 1 + 0) / 4)


def test_draft_that_is_always_right_fills_its_window() -> None:
    assert accepted_per_round([[1.0] * 10] * 2, 4) == 4
    assert accepted_per_round([[0.0] * 10], 4) == 0


def test_answers_are_weighted_by_their_rounds() -> None:
    assert accepted_per_round([[1.0] * 10, [0.0] * 8], 4) == pytest.approx((2 * 4 + 8 * 0) / (2 + 8))
