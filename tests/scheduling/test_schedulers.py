"""The contract of every registered scheduler."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.errors import ConfigError
from goodspeed.scheduling.base import Budget, ClientView
from goodspeed.scheduling.policies import SCHEDULERS

clients_strategy = st.lists(
    st.builds(
        ClientView,
        acceptance_rate=st.floats(0.0, 0.999),
        goodput=st.floats(0.01, 50.0),
        weight=st.floats(0.1, 10.0),
        max_grant=st.integers(0, 20),
    ),
    max_size=12,
)


@pytest.mark.parametrize("name", SCHEDULERS)
@given(clients=clients_strategy, budget=st.integers(0, 60), seed=st.integers(0, 2**32))
def test_grants_are_integers_within_caps_and_budget(
    name: str, clients: list[ClientView], budget: int, seed: int
) -> None:
    scheduler, rng = SCHEDULERS[name](), np.random.default_rng(seed)
    for _ in range(3):
        grants = scheduler.grants(clients, Budget(budget), rng)
        assert all(type(grant) is int for grant in grants)
        assert len(grants) == len(clients)
        assert all(0 <= grant <= client.max_grant for grant, client in zip(grants, clients, strict=True))
        assert sum(grants) <= budget


@pytest.mark.parametrize("name", SCHEDULERS)
@given(clients=clients_strategy, budget=st.integers(0, 60), seed=st.integers(0, 2**32))
def test_same_generator_and_history_give_the_same_grants(
    name: str, clients: list[ClientView], budget: int, seed: int
) -> None:
    def history() -> list[list[int]]:
        scheduler, rng = SCHEDULERS[name](), np.random.default_rng(seed)
        return [scheduler.grants(clients, Budget(budget), rng) for _ in range(3)]

    assert history() == history()


@pytest.mark.parametrize("name", SCHEDULERS)
@pytest.mark.parametrize(
    ("num_clients", "budget"),
    [(0, 0), (0, 8), (1, 0), (1, 8), (5, 0), (5, 3)],
    ids=[
        "nobody",
        "nobody-with-budget",
        "no-budget",
        "one-client",
        "several-without-budget",
        "more-clients-than-budget",
    ],
)
def test_edges_are_answered(name: str, num_clients: int, budget: int) -> None:
    clients = [ClientView(acceptance_rate=0.8, goodput=2.0)] * num_clients
    grants = SCHEDULERS[name]().grants(clients, Budget(budget), np.random.default_rng(0))
    assert len(grants) == num_clients
    assert sum(grants) <= budget


@pytest.mark.parametrize("name", set(SCHEDULERS) - {"random"})
def test_deterministic_schedulers_spend_the_whole_budget_on_willing_clients(name: str) -> None:
    clients = [ClientView(acceptance_rate=0.7, goodput=1.0 + i) for i in range(5)]
    assert sum(SCHEDULERS[name]().grants(clients, Budget(23), np.random.default_rng(0))) == 23


def test_unknown_scheduler_is_a_config_error_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'gradient'"):
        SCHEDULERS["gradiant"]
