"""The gradient scheduler: exact each round, fair in the long run."""

import itertools
import math

import numpy as np
import pytest

from goodspeed.scheduling.base import Budget, ClientView, Scheduler
from goodspeed.scheduling.estimators import CensoredEstimator
from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.random import RandomScheduler

RNG = np.random.default_rng(0)


def objective(clients: list[ClientView], grants: tuple[int, ...], fairness: float) -> float:
    """Eq. 5, written out."""
    expected_tokens = [
        sum(client.acceptance_rate**j for j in range(grant + 1)) for client, grant in zip(clients, grants, strict=True)
    ]
    prices = [client.weight * math.pow(client.goodput, -fairness) for client in clients]
    return sum(price * tokens for price, tokens in zip(prices, expected_tokens, strict=True))


def best_by_brute_force(clients: list[ClientView], budget: int, fairness: float) -> float:
    choices = itertools.product(*(range(min(budget, client.max_grant) + 1) for client in clients))
    return max(objective(clients, grants, fairness) for grants in choices if sum(grants) <= budget)


@pytest.mark.parametrize("fairness", [0.0, 1.0, 2.0])
def test_greedy_is_the_optimum_of_a_thousand_random_cases(fairness: float) -> None:
    rng = np.random.default_rng(7)
    for _ in range(1000 if fairness == 1.0 else 100):
        clients = [
            ClientView(
                acceptance_rate=float(rng.uniform(0.0, 0.99)),
                goodput=float(rng.uniform(0.3, 8.0)),
                weight=float(rng.choice([0.5, 1.0, 2.0])),
                max_grant=int(rng.integers(0, 8)),
            )
            for _ in range(rng.integers(1, 5))
        ]
        budget = int(rng.integers(0, 10))
        grants = tuple(GradientScheduler(fairness).grants(clients, Budget(budget), rng))
        gap = best_by_brute_force(clients, budget, fairness) - objective(clients, grants, fairness)
        assert gap <= 1e-12 * objective(clients, grants, fairness)


def test_starved_client_gets_the_larger_grant() -> None:
    clients = [ClientView(acceptance_rate=0.7, goodput=4.0), ClientView(acceptance_rate=0.7, goodput=1.5)]
    rich, poor = GradientScheduler().grants(clients, Budget(10), RNG)
    assert poor > rich


def test_heavier_client_gets_the_larger_grant() -> None:
    clients = [ClientView(acceptance_rate=0.7, goodput=2.0, weight=weight) for weight in (1.0, 4.0)]
    light, heavy = GradientScheduler().grants(clients, Budget(10), RNG)
    assert heavy > light


def test_equal_clients_get_equal_grants_and_the_first_ones_the_remainder() -> None:
    clients = [ClientView(acceptance_rate=0.7, goodput=2.0)] * 3
    assert GradientScheduler().grants(clients, Budget(8), RNG) == [3, 3, 2]


def test_no_budget_is_spent_where_it_brings_nothing() -> None:
    clients = [ClientView(acceptance_rate=0.0, goodput=1.0), ClientView(acceptance_rate=0.9, goodput=1.0, max_grant=2)]
    assert GradientScheduler().grants(clients, Budget(10), RNG) == [0, 2]


ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)


def long_run_utility(scheduler: Scheduler, num_rounds: int = 1500) -> float:
    """Sum of log mean goodput of eight geometric clients who share 20 tokens, acceptance estimated online."""
    rng = np.random.default_rng(11)
    estimators = [CensoredEstimator(beta=0.1, eta=0.05) for _ in ACCEPTANCE_RATES]
    committed = np.zeros(len(ACCEPTANCE_RATES))
    for _ in range(num_rounds):
        views = [ClientView(e.acceptance_rate, e.goodput) for e in estimators]
        for i, grant in enumerate(scheduler.grants(views, Budget(20), rng)):
            num_accepted = min(grant, int(rng.geometric(1.0 - ACCEPTANCE_RATES[i])) - 1)
            estimators[i].on_verdict(grant, num_accepted)
            committed[i] += num_accepted + 1
    return float(np.log(committed / num_rounds).sum())


def test_gradient_is_fairer_in_the_long_run_than_fixed_and_random() -> None:
    # The optimum of this problem is 7.015 (convex program over the goodput region); the noise of one run is about 0.04.
    gradient = long_run_utility(GradientScheduler())
    assert gradient > 6.85
    assert gradient > long_run_utility(FixedScheduler()) + 0.05
    assert gradient > long_run_utility(RandomScheduler()) + 0.3
