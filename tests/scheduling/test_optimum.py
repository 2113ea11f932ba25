"""The long-run optimum and its certificate."""

from collections.abc import Sequence

import numpy as np
import pytest

from goodspeed.scheduling.fixed import FixedScheduler
from goodspeed.scheduling.optimum import duality_gap, expected_tokens, long_run_optimum, utility
from goodspeed.scheduling.random import RandomScheduler
from goodspeed.scheduling.scheduler import Budget, ClientView

ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)
CLIENTS = [ClientView(rate, 1.0) for rate in ACCEPTANCE_RATES]
ONES = np.ones(8)


def _mixture(clients: Sequence[ClientView], budget: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype]:
    """Goodputs of a mixture of feasible grants, by a scheduler that shares no code with the optimum."""
    scheduler, total, num = RandomScheduler(), np.zeros(len(clients)), 5
    for _ in range(num):
        grants = scheduler.grants(clients, Budget(budget), rng)
        total += [expected_tokens(client, grant) for client, grant in zip(clients, grants, strict=True)]
    return total / num


def test_reference_problem() -> None:
    best = long_run_optimum(CLIENTS, 20)
    assert best.utility == pytest.approx(7.015, abs=5e-4)
    assert best.goodputs == pytest.approx((4.095, 2.952, 2.228, 1.960, 1.624, 3.391, 1.400, 2.734), abs=6e-4)
    assert best.grants.sum() == pytest.approx(20.0)
    assert best.gap < 1e-9


@pytest.mark.parametrize("fairness", [0.0, 0.5, 1.0, 2.0, 8.0])
def test_gap_is_certified_for_a_thousand_different_clients(fairness: float) -> None:
    rng = np.random.default_rng(1)
    clients = [
        ClientView(
            float(rng.uniform(0.05, 0.98)),
            1.0,
            weight=float(rng.uniform(0.5, 3.0)),
            min_grant=int(rng.integers(0, 2)),
            max_grant=int(rng.integers(2, 12)),
            survival=tuple(np.sort(rng.uniform(0.0, 1.0, rng.integers(0, 5)))[::-1]),
        )
        for _ in range(1000)
    ]
    best = long_run_optimum(clients, 3000, fairness)
    assert best.gap < 1e-6
    assert best.grants.sum() == pytest.approx(3000.0)
    assert all(c.min_grant <= s <= c.max_grant + 1e-9 for c, s in zip(clients, best.grants, strict=True))


@pytest.mark.parametrize("fairness", [0.0, 1.0, 2.0])
def test_no_mixture_is_better_and_the_gap_is_never_too_small(fairness: float) -> None:
    rng = np.random.default_rng(2)
    best = long_run_optimum(CLIENTS, 20, fairness)
    for _ in range(200):
        goodputs = _mixture(CLIENTS, 20, rng)
        lack = best.utility - utility(goodputs, ONES, fairness)
        assert -1e-9 < lack <= duality_gap(CLIENTS, 20, goodputs, fairness) + 1e-9


def test_a_split_that_is_not_optimal_has_a_gap() -> None:
    grants = FixedScheduler().grants(CLIENTS, Budget(16), np.random.default_rng(0))
    goodputs = np.array([expected_tokens(client, grant) for client, grant in zip(CLIENTS, grants, strict=True)])
    assert duality_gap(CLIENTS, 16, goodputs) > 0.3


def test_the_survival_curve_overrides_the_acceptance_rate() -> None:
    """A client whose second token never survives gets no second token, whatever its acceptance rate."""
    steep = ClientView(0.8, 1.0, survival=(0.8, 0.0, 0.0))
    best = long_run_optimum([steep, ClientView(0.8, 1.0)], 4)
    assert best.grants == pytest.approx((1.0, 3.0))
    assert best.goodputs == pytest.approx((1.8, 1 + 0.8 + 0.64 + 0.512))


def test_weights_floors_and_caps() -> None:
    heavy, floored, capped = ClientView(0.7, 1.0, weight=4.0), ClientView(0.3, 1.0, min_grant=2), ClientView(0.9, 1.0)
    best = long_run_optimum([heavy, floored, ClientView(0.9, 1.0, max_grant=1)], 6)
    assert best.grants[1:] == pytest.approx((2.0, 1.0))
    assert best.grants[0] == pytest.approx(3.0)
    plain = long_run_optimum([ClientView(0.7, 1.0), floored, capped], 6)
    assert plain.grants[0] < 2.0


def test_tokens_without_value_are_not_granted() -> None:
    best = long_run_optimum([ClientView(0.5, 1.0, max_grant=2), ClientView(0.9, 1.0, weight=0.0)], 20)
    assert best.grants == pytest.approx((2.0, 0.0))
    assert best.gap < 1e-9


def test_no_budget_and_no_clients() -> None:
    assert long_run_optimum(CLIENTS, 0).goodputs == pytest.approx(ONES)
    assert long_run_optimum([], 20).utility == 0.0


def test_floors_beyond_the_budget_are_met_for_the_earlier_clients() -> None:
    best = long_run_optimum([ClientView(0.5, 1.0, min_grant=3), ClientView(0.5, 1.0, min_grant=3)], 4)
    assert best.grants == pytest.approx((3.0, 1.0))


def test_beyond_the_survival_curve_acceptance_is_geometric() -> None:
    assert expected_tokens(ClientView(0.5, 1.0), 3) == pytest.approx(1 + 0.5 + 0.25 + 0.125)
    client = ClientView(0.5, 1.0, survival=(0.9, 0.6))
    assert expected_tokens(client, 4) == pytest.approx(1 + 0.9 + 0.6 + 0.3 + 0.15)
    assert expected_tokens(client, 1) == pytest.approx(1.9)
