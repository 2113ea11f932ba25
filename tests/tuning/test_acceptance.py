"""Rounds of a greedy verifier, counted from where a draft agrees."""

import numpy as np
import pytest

from goodspeed.tuning.acceptance import accepted_per_round, agreement


def test_rounds_accept_up_to_the_first_difference() -> None:
    hits = [np.array([True, True, False, True, False, False])]
    assert agreement(hits) == 0.5
    assert accepted_per_round(hits, 4) == pytest.approx((2 + 1 + 0) / 3)
    assert accepted_per_round(hits, 1) == pytest.approx((1 + 0 + 1 + 0) / 4)


def test_draft_that_is_always_right_fills_its_window() -> None:
    assert accepted_per_round([np.ones(10, dtype=bool)] * 2, 4) == 4
    assert accepted_per_round([np.zeros(10, dtype=bool)], 4) == 0
