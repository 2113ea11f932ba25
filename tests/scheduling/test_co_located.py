"""Acceptance of the verifier's own drafts."""

import numpy as np
import pytest

from goodspeed.scheduling.estimators.co_located import CoLocatedAcceptance


def drafted(outcomes: list[int], num_requested: int) -> CoLocatedAcceptance:
    """After drafts of which so many tokens were accepted, each verified as a whole."""
    acceptance = CoLocatedAcceptance()
    for num_accepted in outcomes:
        acceptance.on_draft(num_requested, num_accepted, num_requested)
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


def test_utilisation_is_the_share_of_requested_tokens_that_is_verified() -> None:
    acceptance = CoLocatedAcceptance()
    assert acceptance.utilisation == 1.0
    for _ in range(3):
        acceptance.on_draft(num_requested=8, num_accepted=1, num_verified=2)
    assert acceptance.utilisation == pytest.approx(0.25)
