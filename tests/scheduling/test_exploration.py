"""Nobody sits at grant 0 forever."""

import numpy as np

from goodspeed.scheduling.base import Budget, ClientView
from goodspeed.scheduling.exploration import EXPLORE_AFTER, exploration_grants
from goodspeed.scheduling.gradient import GradientScheduler


def test_the_longest_starved_come_first_when_the_budget_is_short() -> None:
    assert exploration_grants([EXPLORE_AFTER, 0, EXPLORE_AFTER + 5, EXPLORE_AFTER + 1], budget=2) == [0, 0, 1, 1]


def test_recently_granted_clients_are_left_to_the_scheduler() -> None:
    assert exploration_grants([0, EXPLORE_AFTER - 1], budget=10) == [0, 0]


def test_every_client_is_granted_something_again_and_again() -> None:
    clients = [ClientView(acceptance_rate=0.9, goodput=1.0, weight=100.0), *[ClientView(0.01, 5.0)] * 3]
    starved_rounds = [0] * 4
    num_granted = [0] * 4
    for _ in range(100):
        reserved = exploration_grants(starved_rounds, budget=1)
        shared = GradientScheduler().grants(clients, Budget(1 - sum(reserved)), np.random.default_rng(0))
        grants = [a + b for a, b in zip(reserved, shared, strict=True)]
        assert sum(grants) <= 1
        starved_rounds = [0 if grant else rounds + 1 for grant, rounds in zip(grants, starved_rounds, strict=True)]
        num_granted = [count + (grant > 0) for count, grant in zip(num_granted, grants, strict=True)]
    assert min(num_granted[1:]) >= 100 // (EXPLORE_AFTER + 4)
