"""Acceptance of the verifier's own drafts."""

import numpy as np
import pytest

from goodspeed.scheduling.co_located_length import CoLocatedPrices, best_length
from goodspeed.scheduling.estimators.co_located import CoLocatedAcceptance


def drafted(outcomes: list[int], num_requested: int) -> CoLocatedAcceptance:
    """After drafts of which so many tokens were accepted, each verified as a whole."""
    acceptance = CoLocatedAcceptance()
    for num_accepted in outcomes:
        acceptance.on_draft(num_requested, num_requested, num_accepted)
    return acceptance


def test_the_first_drafts_are_averaged() -> None:
    assert drafted([0, 1, 3, 2], 3).survival == pytest.approx([0.75, 0.5, 0.25])


def test_survival_follows_a_change_within_a_hundred_drafts_and_never_rises_with_the_position() -> None:
    rng = np.random.default_rng(1)
    outcomes = [min(4, int(rng.geometric(0.9)) - 1) for _ in range(300)]
    outcomes += [min(4, int(rng.geometric(0.3)) - 1) for _ in range(100)]
    survival = drafted(outcomes, 4).survival
    assert survival == pytest.approx([0.7, 0.49, 0.343, 0.24], abs=0.2)
    assert survival == sorted(survival, reverse=True)


def test_tokens_that_the_batch_cut_keep_their_chance_given_those_before() -> None:
    acceptance = drafted([1, 2, 2, 0], 2)
    for _ in range(200):
        acceptance.on_draft(1, 1, 1)
    first, second = acceptance.survival
    assert first == pytest.approx(1.0, abs=0.01)
    assert second == pytest.approx(2 / 3, abs=0.01)


def test_a_new_prompt_soon_outweighs_those_before() -> None:
    old, new = drafted([0] * 200, 2), drafted([0] * 200, 2)
    new.on_stream()
    for acceptance in (old, new):
        for _ in range(8):
            acceptance.on_draft(2, 2, 2)
    assert new.survival[0] == pytest.approx(0.5)
    assert old.survival[0] < 0.25


def test_drafts_have_more_tokens_than_are_accepted() -> None:
    acceptance = CoLocatedAcceptance()
    for num_drafted, num_accepted in [(2, 2), (2, 0), (0, 0), (0, 0)] * 50:
        acceptance.on_draft(3, num_drafted, num_accepted)
    assert acceptance.precision == pytest.approx(0.5, abs=0.05)
    assert acceptance.survival == pytest.approx((0.25, 0.25, 0.0), abs=0.05)
    assert acceptance.drafted == pytest.approx((0.5, 0.5, 0.0), abs=0.1)


def test_drafts_that_do_not_pay_take_a_hundredth_of_the_time() -> None:
    acceptance = CoLocatedAcceptance()
    assert acceptance.explores(step_price=0.1)
    num_drafts = 0
    for _ in range(400):
        if acceptance.explores(step_price=0.1):
            acceptance.on_draft(4, 0, 0)
            num_drafts += 1
        else:
            acceptance.on_undrafted()
    assert num_drafts == 10  # 4 steps each
    acceptance.on_stream()
    assert acceptance.explores(step_price=0.1)


CURVE = (0.6, 0.4, 0.2)
DRAFTED = (0.8, 0.5, 0.3)


def test_free_drafts_are_as_long_as_known() -> None:
    assert best_length(CURVE, DRAFTED, 1.0, CoLocatedPrices()) == 3


@pytest.mark.parametrize(("drafting", "length"), [(0.1, 3), (0.45, 2), (0.55, 1), (0.7, 0)])
def test_drafts_are_shorter_where_drafting_costs_more(drafting: float, length: int) -> None:
    assert best_length(CURVE, DRAFTED, 1.0, CoLocatedPrices(drafting=drafting)) == length


def test_a_draft_beside_a_proposal_must_bring_more_than_that() -> None:
    prices = CoLocatedPrices(drafting=0.05)
    assert best_length(CURVE, DRAFTED, 1.0, prices, proposed=(0.9, 0.8, 0.7)) == 3  # behind it
    assert best_length(CURVE, DRAFTED, 1.0, prices, proposed=(0.3, 0.02)) == 3  # instead of it
    assert best_length((0.3, 0.1), (0.5, 0.2), 1.0, prices, proposed=(0.9, 0.1)) == 0
