"""The contract of every registered scheduler."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from goodspeed.errors import ConfigError
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.scheduling.scheduler import Budget, ClientView

curve_strategy = st.lists(st.one_of(st.sampled_from([0.0, 1.0]), st.floats(0.0, 1.0)), max_size=10).map(
    lambda steps: np.cumprod(steps).tolist()
)


@st.composite
def client_strategy(draw: st.DrawFn) -> ClientView:
    """Any client that a verifier may have, extremes included."""
    max_grant = draw(st.integers(0, 20))
    return ClientView(
        acceptance_rate=draw(st.one_of(st.sampled_from([0.0, 0.999999, 1.0 - 2**-53]), st.floats(0.0, 0.999))),
        goodput=draw(st.floats(0.01, 50.0)),
        weight=draw(st.one_of(st.sampled_from([1e-9, 1e9]), st.floats(0.1, 10.0))),
        max_grant=max_grant,
        min_grant=draw(st.integers(0, max_grant)) if draw(st.booleans()) else 0,
        survival=draw(curve_strategy),
        network_s=draw(st.floats(0.0, 1.0)),
        drafting_s=draw(st.floats(0.0, 0.1)),
        verify_s=draw(st.floats(0.0, 1.0)),
        co_batched_weight=draw(st.floats(0.0, 8.0)),
    )


clients_strategy = st.lists(client_strategy(), max_size=12)
budget_strategy = st.builds(
    Budget, tokens=st.integers(0, 60), step_s=st.sampled_from([0.0, 0.05]), token_s=st.sampled_from([0.0, 0.002])
)
every_scheduler = pytest.mark.parametrize("name", SCHEDULERS)
spending = pytest.mark.parametrize("name", sorted(set(SCHEDULERS) - {"random", "tiers", "time_aware", "price"}))
"""The schedulers that grant every token that a client can use. Tiers have fixed lengths, time-aware leaves tokens that
cost more time than they gain, and price spends the budget in the mean."""


def grants_of(name: str, clients: Sequence[ClientView], tokens: int) -> list[int]:
    """The first grants of a new scheduler."""
    return SCHEDULERS[name]().grants(clients, Budget(tokens), np.random.default_rng(0))


@every_scheduler
@settings(max_examples=40)
@given(clients=clients_strategy, budget=budget_strategy, seed=st.integers(0, 2**32))
def test_grants_are_integers_within_floors_caps_and_budget(
    name: str, clients: list[ClientView], budget: Budget, seed: int
) -> None:
    scheduler, rng = SCHEDULERS[name](), np.random.default_rng(seed)
    for _ in range(3):
        grants = scheduler.grants(clients, budget, rng)
        assert all(type(grant) is int for grant in grants)
        assert len(grants) == len(clients)
        assert all(0 <= grant <= client.max_grant for grant, client in zip(grants, clients, strict=True))
        assert sum(grants) <= budget.tokens
        num_left = budget.tokens
        for grant, client in zip(grants, clients, strict=True):
            floor = min(client.min_grant, num_left)
            assert grant >= floor
            num_left -= floor


@every_scheduler
@settings(max_examples=40)
@given(clients=clients_strategy, budget=budget_strategy, seed=st.integers(0, 2**32))
def test_same_generator_and_history_give_the_same_grants(
    name: str, clients: list[ClientView], budget: Budget, seed: int
) -> None:
    def history() -> list[list[int]]:
        scheduler, rng = SCHEDULERS[name](), np.random.default_rng(seed)
        return [scheduler.grants(clients, budget, rng) for _ in range(3)]

    assert history() == history()


@every_scheduler
@settings(max_examples=20)
@given(sizes=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 40)), max_size=8))
@example(sizes=[(5, 20), (0, 20), (2, 0), (7, 300), (1, 1)])
def test_clients_and_budgets_may_come_and_go(name: str, sizes: list[tuple[int, int]]) -> None:
    scheduler, rng = SCHEDULERS[name](), np.random.default_rng(1)
    for num_clients, budget in sizes:
        clients = [ClientView(acceptance_rate=0.3 + 0.05 * i, goodput=1.0 + i) for i in range(num_clients)]
        grants = scheduler.grants(clients, Budget(budget), rng)
        assert len(grants) == num_clients
        assert sum(grants) <= budget


@every_scheduler
@pytest.mark.parametrize("num_clients", [0, 1, 5])
@pytest.mark.parametrize("budget", [0, 3])
def test_budgets_and_client_lists_may_be_empty(name: str, num_clients: int, budget: int) -> None:
    clients = [ClientView(acceptance_rate=0.8, goodput=2.0)] * num_clients
    grants = grants_of(name, clients, budget)
    assert len(grants) == num_clients
    assert sum(grants) <= budget


@every_scheduler
def test_floors_beyond_the_budget_are_met_in_order(name: str) -> None:
    clients = [ClientView(0.7, 1.0, min_grant=3), ClientView(0.9, 1.0, min_grant=3), ClientView(0.9, 1.0, min_grant=3)]
    assert grants_of(name, clients, 5) == [3, 2, 0]


@spending
@settings(max_examples=40)
@given(caps=st.lists(st.integers(0, 12), min_size=1, max_size=8), tokens=st.integers(0, 60))
def test_the_whole_budget_is_granted_up_to_the_caps(name: str, caps: list[int], tokens: int) -> None:
    clients = [ClientView(0.7, 1.0 + i, max_grant=cap, min_grant=cap // 4) for i, cap in enumerate(caps)]
    assert sum(grants_of(name, clients, tokens)) == min(tokens, sum(caps))


def test_unknown_scheduler_is_a_config_error_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        SCHEDULERS["gradiant"]
