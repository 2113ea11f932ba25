"""The simple policies: fixed, proportional, tiers, random."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.proportional import ProportionalScheduler
from goodspeed.scheduling.proportional_shares import ProportionalShare, fill
from goodspeed.scheduling.random import RandomScheduler
from goodspeed.scheduling.scheduler import Budget, ClientView
from goodspeed.scheduling.tiers import TiersScheduler, tier

RNG = np.random.default_rng(0)


def clients_at(*acceptance_rates: float) -> list[ClientView]:
    return [ClientView(acceptance_rate=rate, goodput=2.0) for rate in acceptance_rates]


def test_fixed_gives_the_remainder_to_all_clients_in_turn() -> None:
    scheduler = FixedScheduler()
    assert [scheduler.grants(clients_at(0.1, 0.5, 0.9), Budget(7), RNG) for _ in range(3)] == [
        [3, 2, 2],
        [2, 3, 2],
        [2, 2, 3],
    ]


def test_fixed_shares_equally_what_floors_and_caps_leave() -> None:
    clients = [ClientView(0.5, 1.0, max_grant=1), ClientView(0.5, 1.0, min_grant=7), *clients_at(0.5, 0.5)]
    assert FixedScheduler().grants(clients, Budget(16), RNG) == [1, 7, 4, 4]


def test_proportional_follows_acceptance_with_the_largest_remainder_rounded_up() -> None:
    # Quotas 3.25, 1.75 of 5 tokens.
    assert ProportionalScheduler().grants(clients_at(0.65, 0.35), Budget(5), RNG) == [3, 2]


def test_proportional_follows_weights() -> None:
    clients = [ClientView(0.5, 1.0, weight=3.0), ClientView(0.5, 1.0)]
    assert ProportionalScheduler().grants(clients, Budget(8), RNG) == [6, 2]


@given(
    shares=st.lists(
        st.tuples(st.floats(0.0, 10.0), st.integers(0, 5), st.integers(0, 12)).map(
            lambda share: ProportionalShare(share[0], share[1], share[1] + share[2])
        ),
        min_size=1,
        max_size=8,
    ),
    num_beyond=st.integers(0, 60),
)
def test_shares_are_proportional_within_their_limits_to_less_than_a_token(
    shares: list[ProportionalShare], num_beyond: int
) -> None:
    num_tokens = sum(share.floor for share in shares) + num_beyond
    grants = fill(shares, num_tokens)
    assert all(share.floor <= grant <= share.cap for share, grant in zip(shares, grants, strict=True))
    is_open = [share.rate > 1e-9 for share in shares]
    limit = sum(share.cap if takes_more else share.floor for share, takes_more in zip(shares, is_open, strict=True))
    assert sum(grants) == min(num_tokens, limit)
    # All shares are near one level: no share below its cap is a token lower than a share above its floor.
    takers = [(g + 1) / s.rate for s, g, w in zip(shares, grants, is_open, strict=True) if w and g < s.cap]
    givers = [(g - 1) / s.rate for s, g, w in zip(shares, grants, is_open, strict=True) if w and g > s.floor]
    assert not takers or not givers or min(takers) >= max(givers) * (1.0 - 1e-6) - 1e-6


@pytest.mark.parametrize(
    ("accepted_length", "length"), [(0.0, 1), (0.5, 1), (0.6, 3), (2.4, 3), (2.6, 7), (6.6, 15), (1000.0, 63)]
)
def test_a_filled_tier_is_followed_by_the_next(accepted_length: float, length: int) -> None:
    assert tier(accepted_length) == length


def test_tiers_beyond_the_budget_are_cut_the_longest_first() -> None:
    clients = [ClientView(0.5, goodput) for goodput in (1.3, 2.5, 5.0)]
    assert TiersScheduler().grants(clients, Budget(64), RNG) == [1, 3, 7]
    assert TiersScheduler().grants(clients, Budget(8), RNG) == [1, 3, 4]
    assert TiersScheduler().grants(clients, Budget(5), RNG) == [1, 2, 2]


def test_random_is_uniform_over_the_splits_beyond_the_floors() -> None:
    rng = np.random.default_rng(4)
    clients = [ClientView(0.5, 1.0, min_grant=1), ClientView(0.5, 1.0)]
    num_draws = 6000
    counts = Counter(tuple(RandomScheduler().grants(clients, Budget(3), rng)) for _ in range(num_draws))
    splits = [(1 + first, second) for first in range(3) for second in range(3 - first)]
    assert set(counts) == set(splits)
    # Chi-square with 5 degrees of freedom: 25.7 is its quantile at 1 - 1e-4.
    expected = num_draws / len(splits)
    assert sum((counts[split] - expected) ** 2 / expected for split in splits) < 25.7
