"""The price scheduler: grants at a price, how the price moves, and that batches of any clients fill the budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.marginals import log_survival
from goodspeed.scheduling.price import PriceScheduler, num_surviving
from goodspeed.scheduling.scheduler import Budget, ClientView

RNG = np.random.default_rng(0)
ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)


@given(
    acceptance_rate=st.floats(0.0, 0.999),
    steps=st.lists(st.floats(0.0, 1.0), max_size=6),
    log_chance=st.floats(-40.0, 0.5),
)
def test_the_closed_form_counts_the_tokens_above_a_survival(
    acceptance_rate: float, steps: list[float], log_chance: float
) -> None:
    client = ClientView(acceptance_rate, 1.0, survival=np.cumprod(steps).tolist())
    count = min(200, num_surviving(client, log_chance))
    assert all(log_survival(client, j) >= log_chance - 1e-9 for j in range(1, count + 1))
    assert count == 200 or log_survival(client, count + 1) < log_chance + 1e-9


def test_a_call_that_fills_the_budget_has_the_gradient_schedulers_grants() -> None:
    rng = np.random.default_rng(2)
    price, gradient = PriceScheduler(), GradientScheduler()
    num_full = 0
    for _ in range(300):
        clients = [
            ClientView(a, float(rng.uniform(1.0, 5.0)), survival=(0.6, 0.5) if rng.random() < 0.3 else (), min_grant=1)
            for a in ACCEPTANCE_RATES
        ]
        grants = price.grants(clients, Budget(20), rng)
        if sum(grants) == 20:
            num_full += 1
            assert grants == gradient.grants(clients, Budget(20), rng)
    assert num_full > 150


def test_price_rises_after_the_budget_is_cut_and_falls_after_it_grows() -> None:
    clients = [ClientView(a, 2.0) for a in ACCEPTANCE_RATES]
    scheduler = PriceScheduler()
    for tokens in (20, 8, 32, 16):
        spent = [sum(scheduler.grants(clients, Budget(tokens), RNG)) for _ in range(60)]
        assert spent[-1] == tokens


def test_calls_without_demand_leave_the_price_as_it_is() -> None:
    busy = [ClientView(a, 2.0) for a in ACCEPTANCE_RATES]
    idle = [ClientView(0.0, 2.0), ClientView(0.9, 2.0, max_grant=0), ClientView(0.9, 2.0, weight=0.0)]
    scheduler = PriceScheduler()
    before = scheduler.grants(busy, Budget(16), RNG)
    for clients, tokens in ((idle, 16), ([], 16), (busy, 0)):
        for _ in range(1000):
            scheduler.grants(clients, Budget(tokens), RNG)
    assert scheduler.grants(busy, Budget(16), RNG) == before


@pytest.mark.parametrize("group_size", [2, 4, 8])
def test_batches_of_any_clients_fill_the_budget_in_the_mean(group_size: int) -> None:
    rng = np.random.default_rng(6)
    scheduler = PriceScheduler()
    fill = []
    for _ in range(400):
        group = rng.choice(len(ACCEPTANCE_RATES), group_size, replace=False)
        clients = [ClientView(ACCEPTANCE_RATES[i], float(rng.uniform(1.5, 3.0))) for i in group]
        fill.append(sum(scheduler.grants(clients, Budget(20), rng)))
    assert np.mean(fill[100:]) > 0.8 * 20


def test_a_grant_does_not_depend_on_the_other_clients() -> None:
    """A client's grant depends on its own view and the price, so it is the same with and without other clients."""
    clients = [ClientView(a, 2.0) for a in ACCEPTANCE_RATES]
    schedulers = PriceScheduler(), PriceScheduler()
    for scheduler in schedulers:
        scheduler.grants(clients, Budget(20), RNG)
    together, single = (
        scheduler.grants(group, Budget(20), RNG)
        for scheduler, group in zip(schedulers, (clients[:4], clients[3:4]), strict=True)
    )
    assert single == together[3:4]
