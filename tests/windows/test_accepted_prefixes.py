"""What past proposals say about every window."""

import numpy as np
import pytest

from goodspeed.windows.accepted_prefixes import DECAY, AcceptedPrefixes


def rates(prefixes: AcceptedPrefixes, max_window: int) -> list[float | None]:
    """Acceptance by position; None where no token was verified."""
    trials = prefixes.trials(max_window)
    return [trial.num_accepted / trial.num_verified if trial.num_verified else None for trial in trials]


def test_a_rejection_counts_at_every_position_up_to_its_own() -> None:
    prefixes = AcceptedPrefixes()
    prefixes.on_round(4, 2)
    assert rates(prefixes, 5) == [1.0, 1.0, 0.0, None, None]


def test_a_whole_proposal_says_nothing_of_longer_windows() -> None:
    prefixes = AcceptedPrefixes()
    prefixes.on_round(2, 2)
    prefixes.on_round(3, 2)
    prefixes.on_round(0, 0)
    assert rates(prefixes, 3) == [1.0, 1.0, 0.0]
    assert prefixes.trials(3)[2].num_verified == pytest.approx(1.0)


def test_the_latest_round_counts_one_and_earlier_ones_fade() -> None:
    prefixes = AcceptedPrefixes()
    for _ in range(10_000):  # beyond the point at which weights are scaled down
        prefixes.on_round(1, 0)
    assert prefixes.num_rounds == pytest.approx(1.0 / (1.0 - DECAY))
    prefixes.on_round(1, 1)
    assert prefixes.trials(1)[0].num_accepted == pytest.approx(1.0)


def test_acceptance_by_position_does_not_depend_on_the_windows_that_were_tried() -> None:
    """Short windows cannot hide that later positions are the better ones. Within 4 standard errors."""
    rng = np.random.default_rng(3)
    true_rates = (0.5, 0.7, 0.9)
    prefixes = AcceptedPrefixes()
    for _ in range(4_000):
        window = int(rng.choice([1, 1, 1, 3]))
        is_right = rng.random(3) < true_rates
        num_accepted = int(np.argmin([*is_right[:window], False]))
        prefixes.on_round(window, num_accepted)
    for trial, rate in zip(prefixes.trials(3), true_rates, strict=True):
        error = (rate * (1.0 - rate) / trial.num_verified) ** 0.5
        assert abs(trial.num_accepted / trial.num_verified - rate) < 4 * error
