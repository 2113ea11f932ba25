"""Draft selection: which proposed tokens a closing batch verifies."""

import itertools

import numpy as np
import pytest

from goodspeed.scheduling.draft_selection import (
    DRAFT_SELECTIONS,
    ProposalCandidate,
    select_by_arrival,
    select_by_survival,
    select_by_value,
)

SURE, UNSURE = ProposalCandidate(1.0, (0.9, 0.8, 0.7)), ProposalCandidate(1.0, (0.5, 0.2, 0.1))


def test_by_arrival_the_first_proposal_is_verified_whole() -> None:
    assert select_by_arrival([UNSURE, SURE], 4) == [3, 1]


def test_by_value_the_tokens_most_likely_to_survive_are_verified() -> None:
    assert select_by_value([UNSURE, SURE], 4) == [1, 3]


def test_by_value_a_client_of_low_goodput_has_more_valuable_tokens() -> None:
    assert select_by_value([ProposalCandidate(5.0, UNSURE.survival), SURE], 4) == [2, 2]


def test_by_survival_neither_goodput_nor_floor_nor_price_counts() -> None:
    poor = ProposalCandidate(5.0, UNSURE.survival, price=0.1, floor=3)
    assert select_by_survival([poor, SURE], 4) == select_by_value([UNSURE, SURE], 4) == [1, 3]


def test_within_the_budget_only_tokens_without_value_are_cut() -> None:
    assert select_by_value([UNSURE, SURE], 6) == [3, 3]
    assert select_by_value([ProposalCandidate(1.0, UNSURE.survival, price=0.3), SURE], 6) == [1, 3]


def test_a_floor_is_met_whatever_the_value_of_its_tokens() -> None:
    assert select_by_value([ProposalCandidate(1.0, UNSURE.survival, price=2.0, floor=2), SURE], 3) == [2, 1]
    assert select_by_value(
        [ProposalCandidate(1.0, UNSURE.survival, floor=3), ProposalCandidate(1.0, SURE.survival, floor=3)], 4
    ) == [2, 2]


@pytest.mark.parametrize("max_price", [0.0, 0.5])
def test_no_other_lengths_have_more_value(max_price: float) -> None:
    """Brute force over 200 random cases."""
    rng = np.random.default_rng(1)
    for _ in range(200):
        candidates = [
            ProposalCandidate(
                float(rng.uniform(0.1, 2.0)),
                tuple(np.cumprod(rng.uniform(0.3, 1.0, int(rng.integers(0, 5)))).tolist()),
                float(rng.uniform(0.0, max_price)),
            )
            for _ in range(3)
        ]
        budget = int(rng.integers(0, 9))

        def value(lengths: tuple[int, ...], candidates: list[ProposalCandidate] = candidates) -> float:
            pairs = zip(candidates, lengths, strict=True)
            return sum(
                candidate.token_value * s - candidate.price
                for candidate, length in pairs
                for s in candidate.survival[:length]
            )

        options = itertools.product(*(range(len(candidate.survival) + 1) for candidate in candidates))
        best = max(value(lengths) for lengths in options if sum(lengths) <= budget)
        found = tuple(select_by_value(candidates, budget))
        assert sum(found) <= budget
        assert value(found) == pytest.approx(best)


@pytest.mark.parametrize("name", DRAFT_SELECTIONS)
def test_every_draft_selection_stays_within_proposals_and_budget(name: str) -> None:
    rng = np.random.default_rng(2)
    for _ in range(50):
        candidates = [
            ProposalCandidate(1.0, tuple(np.cumprod(rng.random(int(rng.integers(0, 9)))).tolist())) for _ in range(5)
        ]
        budget = int(rng.integers(0, 30))
        lengths = DRAFT_SELECTIONS[name](candidates, budget)
        assert all(
            0 <= length <= len(candidate.survival) for length, candidate in zip(lengths, candidates, strict=True)
        )
        assert sum(lengths) <= budget
