"""Where a client's round goes."""

import pytest

from goodspeed.verifier.core.pace import Pace


def test_the_gap_is_split_into_drafting_and_the_rest() -> None:
    pace = Pace()
    for num_tokens in (2, 8, 5) * 30:
        pace.on_proposal(0.05 + 0.004 * num_tokens, 0.004 * num_tokens, num_tokens)
    assert pace.gap_s == pytest.approx(0.05)
    assert pace.drafting_s == pytest.approx(0.004)


def test_a_drafter_that_claims_more_drafting_than_there_was_time_gains_no_negative_link() -> None:
    pace = Pace()
    pace.on_proposal(0.05, 10.0, 5)
    assert (pace.gap_s, pace.drafting_s) == pytest.approx((0.0, 0.01))


def test_empty_proposals_leave_the_cost_of_a_token_as_it_was() -> None:
    pace = Pace()
    pace.on_proposal(0.1, 0.04, 4)
    for _ in range(50):
        pace.on_proposal(0.1, 0.0, 0)
    assert pace.drafting_s == pytest.approx(0.01)
