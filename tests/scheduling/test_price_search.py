"""The price search yields the grants of the greedy allocation, and takes arrays."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.scheduling import price_search
from goodspeed.scheduling.gradient import greedy_grants
from goodspeed.scheduling.price_search import Demand, Floats, Ints, demand_of, demand_of_views, grants_by_price
from goodspeed.scheduling.scheduler import ClientView

NUM_CASES = 200


def random_client(rng: np.random.Generator, has_curves: bool) -> ClientView:
    """Geometric or with a curve of any length, with floor and cap; some equal in acceptance or goodput."""
    steps = rng.choice(
        [1.0, 0.9, 0.6, 0.3, 0.0], rng.integers(0, 12) if has_curves else 0, p=[0.2, 0.4, 0.2, 0.15, 0.05]
    )
    return ClientView(
        acceptance_rate=float(rng.choice([0.0, 0.5, rng.uniform(0.01, 0.999)], p=[0.05, 0.25, 0.7])),
        goodput=float(rng.choice([1.0, rng.uniform(0.3, 8.0)])),
        weight=float(rng.choice([0.0, 0.5, 1.0, 2.0], p=[0.02, 0.28, 0.4, 0.3])),
        max_grant=int(rng.integers(4, 40)),
        min_grant=int(rng.integers(0, 3)),
        survival=np.cumprod(steps).tolist(),
    )


def total_value(clients: list[ClientView], grants: list[int], fairness: float) -> float:
    """The objective (eq. 5) less what the rounds commit without draft tokens."""
    total = 0.0
    for client, grant in zip(clients, grants, strict=True):
        curve = [*client.survival[:grant]]
        while len(curve) < grant:
            curve.append((curve[-1] if curve else 1.0) * client.acceptance_rate)
        total += client.weight * client.goodput**-fairness * sum(curve)
    return total


def num_below_greedy() -> int:
    """In how many of 200 large cases the search finds less value than the greedy allocation."""
    rng = np.random.default_rng(3)
    count = 0
    for _ in range(NUM_CASES):
        has_curves = bool(rng.random() < 0.5)
        clients = [random_client(rng, has_curves) for _ in range(rng.integers(20, 400))]
        num_tokens = int(rng.integers(0, 12 * len(clients)))
        fairness = float(rng.choice([0.0, 1.0, 2.0, 16.0]))
        grants = grants_by_price(demand_of_views(clients, fairness), num_tokens).tolist()
        greedy = greedy_grants(clients, num_tokens, fairness)
        assert sum(grants) == sum(greedy) <= num_tokens
        count += total_value(clients, grants, fairness) < total_value(clients, greedy, fairness) * (1.0 - 1e-12)
    return count


def test_the_search_finds_the_value_of_the_greedy_allocation_in_two_hundred_large_cases() -> None:
    assert num_below_greedy() == 0


def test_the_comparison_detects_a_search_that_takes_arbitrary_last_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def arbitrary(_values: Floats, _tokens: Ints, _clients: Ints, num_chosen: int) -> Ints:
        return np.arange(num_chosen)

    monkeypatch.setattr(price_search, "_highest", arbitrary)
    assert num_below_greedy() > NUM_CASES // 2


def test_ties_go_to_the_smaller_grant_then_to_the_earlier_client() -> None:
    rng = np.random.default_rng(5)
    for num_tokens in range(0, 3000, 97):
        clients = [ClientView(0.5, float(2.0 ** rng.integers(0, 3)), max_grant=20) for _ in range(150)]
        grants = grants_by_price(demand_of_views(clients, 1.0), num_tokens).tolist()
        assert grants == greedy_grants(clients, num_tokens, 1.0)


@given(num_tokens=st.integers(0, 40), floors=st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_floors_beyond_the_budget_are_met_in_order(num_tokens: int, floors: list[int]) -> None:
    clients = [ClientView(0.7, 1.0, min_grant=floor, max_grant=5) for floor in floors]
    assert grants_by_price(demand_of_views(clients, 1.0), num_tokens).tolist() == greedy_grants(
        clients, num_tokens, 1.0
    )


def demand_of_many(num_clients: int) -> Demand:
    rng = np.random.default_rng(1)
    return demand_of(
        log_weights=-np.log(rng.uniform(1.0, 6.0, num_clients)),
        acceptance_rates=rng.uniform(0.3, 0.95, num_clients),
        floors=np.zeros(num_clients, dtype=np.int64),
        caps=np.full(num_clients, 1000, dtype=np.int64),
    )


def test_one_price_separates_the_tokens_of_ten_thousand_clients() -> None:
    demand = demand_of_many(10_000)
    grants = grants_by_price(demand, 80_000)
    all_clients = np.arange(10_000)
    assert grants.sum() == 80_000
    granted = grants > 0
    lowest_granted = demand.log_values(all_clients[granted], grants[granted]).min()
    assert demand.log_values(all_clients, grants + 1).max() <= lowest_granted
