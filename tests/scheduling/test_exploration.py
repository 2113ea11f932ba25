"""No client stays at grant 0 forever, and exploration costs little time."""

import numpy as np
import pytest
from msgspec.structs import replace

from goodspeed.scheduling.exploration import EXPLORE_AFTER, clients_to_explore, exploration_interval
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.scheduler import Budget, ClientView


def test_the_longest_starved_come_first_when_the_budget_is_short() -> None:
    assert clients_to_explore([1.0, 0.0, 1.5, 1.1], budget=2) == [False, False, True, True]


def test_recently_granted_clients_do_not_explore() -> None:
    assert clients_to_explore([0.0, 0.9], budget=10) == [False, False]


def test_every_client_is_granted_a_token_again_and_again() -> None:
    clients = [ClientView(acceptance_rate=0.9, goodput=1.0, weight=100.0), *[ClientView(0.01, 5.0)] * 3]
    starved_rounds = [0] * 4
    num_granted = [0] * 4
    for _ in range(100):
        due = clients_to_explore([rounds / EXPLORE_AFTER for rounds in starved_rounds], budget=1)
        views = [replace(client, min_grant=int(is_due)) for client, is_due in zip(clients, due, strict=True)]
        grants = GradientScheduler().grants(views, Budget(1), np.random.default_rng(0))
        assert sum(grants) <= 1
        starved_rounds = [0 if grant else rounds + 1 for grant, rounds in zip(grants, starved_rounds, strict=True)]
        num_granted = [count + (grant > 0) for count, grant in zip(num_granted, grants, strict=True)]
    assert min(num_granted[1:]) >= 100 // (EXPLORE_AFTER + 4)


@pytest.mark.parametrize("round_s", [0.02, 0.1, 0.5])
def test_exploration_takes_at_most_a_twentieth_of_the_time(round_s: float) -> None:
    local_round_s = 0.02
    rounds = exploration_interval(round_s, local_round_s)
    assert (round_s - local_round_s) <= 0.0501 * rounds * local_round_s
    assert rounds == pytest.approx(max(EXPLORE_AFTER, 20 * (round_s / local_round_s - 1)))


def test_exploration_is_frequent_while_no_time_is_known() -> None:
    assert exploration_interval(0.0, 0.0) == exploration_interval(0.0, 0.02) == EXPLORE_AFTER
