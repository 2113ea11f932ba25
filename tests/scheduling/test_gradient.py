"""The gradient scheduler: exact in each round, fair in the long run."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from goodspeed.scheduling.estimators.decaying import censored_estimator
from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.gradient import GradientScheduler, greedy_grants
from goodspeed.scheduling.random import RandomScheduler
from goodspeed.scheduling.scheduler import Budget, ClientView, Scheduler

RNG = np.random.default_rng(0)
NUM_CASES = 1000


def survival(client: ClientView, num_tokens: int) -> float:
    """Pr(the first num_tokens are accepted), written out."""
    known = client.survival[:num_tokens]
    return (known[-1] if known else 1.0) * client.acceptance_rate ** (num_tokens - len(known))


def objective(clients: Sequence[ClientView], grants: Sequence[int], fairness: float) -> float:
    """Eq. 5, written out."""
    prices = [client.weight * math.pow(client.goodput, -fairness) for client in clients]
    expected_tokens = [
        sum(survival(client, j) for j in range(grant + 1)) for client, grant in zip(clients, grants, strict=True)
    ]
    return sum(price * tokens for price, tokens in zip(prices, expected_tokens, strict=True))


def best_by_brute_force(clients: Sequence[ClientView], budget: int, fairness: float) -> float:
    """The best value of all grants within floors, caps and the budget."""
    choices = itertools.product(*(range(client.min_grant, client.max_grant + 1) for client in clients))
    return max(objective(clients, grants, fairness) for grants in choices if sum(grants) <= budget)


def random_client(rng: np.random.Generator) -> ClientView:
    """Any weight, floor and cap; half of the clients have survival curves, some of which end in certain rejection."""
    cap = int(rng.integers(0, 7))
    curve = np.cumprod(rng.beta(3.0, 1.5, size=rng.integers(1, 9))) * rng.choice([1.0, 1.0, 1.0, 0.0], size=1)
    return ClientView(
        acceptance_rate=float(rng.choice([0.0, rng.uniform(0.0, 0.99), rng.uniform(0.9, 0.9999)], p=[0.1, 0.7, 0.2])),
        goodput=float(rng.uniform(0.3, 8.0)),
        weight=float(rng.choice([0.5, 1.0, 2.0])),
        max_grant=cap,
        min_grant=int(rng.integers(0, min(cap, 2) + 1)),
        survival=curve.tolist() if rng.random() < 0.5 else (),
    )


def random_cases() -> list[tuple[list[ClientView], int, float]]:
    """Clients, a budget that covers their floors, and a fairness."""
    rng = np.random.default_rng(7)
    cases = []
    for _ in range(NUM_CASES):
        clients = [random_client(rng) for _ in range(rng.integers(1, 5))]
        budget = sum(client.min_grant for client in clients) + int(rng.integers(0, 10))
        cases.append((clients, budget, float(rng.choice([0.0, 0.5, 1.0, 2.0, 8.0]))))
    return cases


def num_below_the_optimum(variant: float = 0.0) -> int:
    """How many random cases the greedy allocation misses if every acceptance is raised by `variant`."""
    count = 0
    for clients, budget, fairness in random_cases():
        changed = [
            replace(
                client,
                acceptance_rate=min(0.9999, client.acceptance_rate + variant),
                survival=[min(1.0, chance + variant) for chance in client.survival],
            )
            for client in clients
        ]
        value = objective(clients, greedy_grants(changed, budget, fairness), fairness)
        count += best_by_brute_force(clients, budget, fairness) > value * (1.0 + 1e-12)
    return count


def test_the_greedy_allocation_is_optimal_in_a_thousand_random_cases() -> None:
    assert num_below_the_optimum() == 0


def test_brute_force_detects_a_slightly_wrong_allocation() -> None:
    assert num_below_the_optimum(variant=0.05) > NUM_CASES // 100


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


@pytest.mark.parametrize("budget", [10, 1000])
def test_no_budget_is_spent_on_tokens_without_value(budget: int) -> None:
    clients = [
        ClientView(acceptance_rate=0.0, goodput=1.0),
        ClientView(acceptance_rate=0.9, goodput=1.0, max_grant=2),
        ClientView(acceptance_rate=0.9, goodput=1.0, survival=(0.5, 0.4, 0.0)),
        ClientView(acceptance_rate=0.0, goodput=1.0, survival=(0.5,)),
        ClientView(acceptance_rate=0.9, goodput=1.0, weight=0.0),
    ]
    assert GradientScheduler().grants(clients, Budget(budget), RNG) == [0, 2, 2, 1, 0]


def test_the_survival_curve_overrides_the_acceptance_rate() -> None:
    # Both are accepted at a rate of 0.6, but the second is rejected early or not at all, as real drafts are.
    geometric = ClientView(acceptance_rate=0.6, goodput=2.0)
    early_or_never = ClientView(acceptance_rate=0.6, goodput=2.0, survival=(0.4, 0.36, 0.33, 0.3, 0.28, 0.26))
    assert GradientScheduler().grants([geometric, early_or_never], Budget(6), RNG) == [2, 4]


def test_floors_come_first() -> None:
    clients = [ClientView(0.9, 1.0), ClientView(0.1, 1.0, min_grant=3), ClientView(0.9, 1.0)]
    assert GradientScheduler().grants(clients, Budget(7), RNG) == [2, 3, 2]


def test_max_min_grants_to_the_lowest_goodput_at_any_scale() -> None:
    for scale in (1e-6, 1.0, 1e6):
        clients = [ClientView(0.9, 2.0 * scale), ClientView(0.3, 1.0 * scale), ClientView(0.9, 3.0 * scale)]
        assert GradientScheduler(fairness=1e4).grants(clients, Budget(5), RNG) == [0, 5, 0]


def test_max_min_continues_with_the_next_lowest_goodput_at_the_cap() -> None:
    clients = [ClientView(0.9, 2.0), ClientView(0.3, 1.0, max_grant=2), ClientView(0.9, 3.0)]
    assert GradientScheduler(fairness=1e4).grants(clients, Budget(5), RNG) == [3, 2, 0]


ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)


def long_run_goodput(scheduler: Scheduler, num_rounds: int = 1500) -> np.ndarray:
    """Mean goodput of eight geometric clients that share 20 tokens, with acceptance estimated online."""  # [8] float64
    rng = np.random.default_rng(11)
    estimators = [censored_estimator(beta=0.1, eta=0.05) for _ in ACCEPTANCE_RATES]
    committed = np.zeros(len(ACCEPTANCE_RATES))
    for _ in range(num_rounds):
        views = [ClientView(e.acceptance_rate, e.goodput) for e in estimators]
        for i, grant in enumerate(scheduler.grants(views, Budget(20), rng)):
            num_accepted = min(grant, int(rng.geometric(1.0 - ACCEPTANCE_RATES[i])) - 1)
            estimators[i].on_verdict(grant, num_accepted)
            committed[i] += num_accepted + 1
    return committed / num_rounds


def test_gradient_is_fairer_in_the_long_run_than_fixed_and_random() -> None:
    # The optimum of this problem is 7.015 (convex program over the goodput region); the noise of one run is about 0.04.
    gradient, fixed, random = (
        float(np.log(long_run_goodput(scheduler)).sum())
        for scheduler in (GradientScheduler(), FixedScheduler(), RandomScheduler())
    )
    assert gradient > 6.85
    assert gradient > fixed + 0.05
    assert gradient > random + 0.3


def test_more_fairness_raises_the_lowest_goodput_and_costs_throughput() -> None:
    goodputs = [long_run_goodput(GradientScheduler(fairness)) for fairness in (0.0, 1.0, 2.0, 8.0)]
    poorest = [float(goodput.min()) for goodput in goodputs]
    throughput = [float(goodput.sum()) for goodput in goodputs]
    assert poorest == sorted(poorest)
    assert throughput == sorted(throughput, reverse=True)
