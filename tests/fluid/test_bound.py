"""The bounds compared with runs, and their constants with brute force."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from goodspeed.fluid.bound import DriftLimits, mean_bound
from goodspeed.fluid.drifts import DRIFT_KINDS, DriftKind
from goodspeed.fluid.lipschitz import knapsack, utility_lipschitz
from goodspeed.fluid.problem import REFERENCE, log_utility, optimal_utilities
from goodspeed.fluid.recursion import Recursion, geometric_goodputs
from goodspeed.fluid.tracking import DriftExperiment, run_drift_experiment

LIMITS = DriftLimits(REFERENCE.rates - 0.05, REFERENCE.rates + 0.05, speed=5e-4)
SMALL = DriftExperiment(LIMITS, REFERENCE.budget, beta=0.05, num_rounds=200, num_paths=20, runs_per_path=5)


def test_knapsack_equals_brute_force() -> None:
    values = np.random.default_rng(0).normal(size=(3, 4, 6))
    values[1, :, 2] = -np.inf
    for case in range(4):
        best = max(
            sum(values[client, case, grant] for client, grant in enumerate(grants))
            for grants in itertools.product(range(6), repeat=3)
            if sum(grants) == 7
        )
        assert knapsack(values, 7)[case] == pytest.approx(best)


def test_knapsack_without_possible_grants_is_minus_infinity() -> None:
    assert knapsack(np.zeros((2, 1, 3)), 5)[0] == -np.inf


def test_lipschitz_constant_bounds_the_change_of_the_optimum_and_is_not_loose() -> None:
    low, high = LIMITS.low, LIMITS.high
    constant = utility_lipschitz(low, high, REFERENCE.budget)
    rng = np.random.default_rng(0)
    rates = rng.uniform(low, high, (2000, 8))
    moved = np.clip(rates + 1e-3 * rng.choice((-1.0, 1.0), rates.shape), low, high)
    change = np.abs(optimal_utilities(moved, 20) - optimal_utilities(rates, 20))
    assert np.all(change <= constant * np.abs(moved - rates).max(axis=1) + 1e-9)
    both = optimal_utilities(np.stack([REFERENCE.rates, REFERENCE.rates + 1e-3]), 20)
    assert constant < 1.6 * float(both[1] - both[0]) / 1e-3


@pytest.mark.parametrize("kind", DRIFT_KINDS)
def test_drifts_stay_within_their_limits_and_reach_them(kind: DriftKind) -> None:
    rates = kind(LIMITS, 500, np.random.default_rng(0))
    assert rates.shape == (500, 8)
    assert np.all((rates >= LIMITS.low - 1e-12) & (rates <= LIMITS.high + 1e-12))
    steps = np.abs(np.diff(rates, axis=0))
    assert steps.max() <= LIMITS.speed + 1e-12
    assert np.median(steps) == pytest.approx(LIMITS.speed)


def test_both_bounds_hold_in_drifting_runs_and_are_not_loose() -> None:
    tracking = run_drift_experiment(SMALL, np.random.default_rng(0))
    assert tracking.num_runs_within == tracking.num_runs == 100
    assert tracking.num_rounds_above == 0
    assert tracking.mean_certificate < 3.0 * tracking.max_gap
    assert tracking.max_mean_bound < 0.3
    assert tracking.mean_limit < 7.0, "a verifier that grants nothing has a gap of 7"


def test_certificate_accounts_for_estimation_errors() -> None:
    exact = run_drift_experiment(SMALL, np.random.default_rng(0))
    off = run_drift_experiment(replace(SMALL, drift=replace(LIMITS, error=0.02)), np.random.default_rng(0))
    assert off.num_runs_within == off.num_runs
    assert off.mean_gap > exact.mean_gap
    assert off.mean_certificate > exact.mean_certificate + 0.02


def test_a_priori_bound_grows_with_the_speed_of_drift() -> None:
    slow = mean_bound(LIMITS, 20, 0.02).limit
    fast = mean_bound(replace(LIMITS, speed=5e-3), 20, 0.02).limit
    assert fast - slow > LIMITS.lipschitz(20) * (5e-3 - 5e-4) / 0.02 - 1e-6


def test_a_priori_bound_decreases_with_the_step_size() -> None:
    standing = replace(LIMITS, speed=0.0)
    limits = [mean_bound(standing, 20, beta).limit for beta in (0.1, 0.02)]
    assert limits[1] < 0.3 * limits[0]


def test_cost_of_drift_is_nearly_reached_when_all_rates_rise() -> None:
    """L speed / beta is what the mean gap costs, not only what it costs at most."""
    beta, speed, num_rounds = 0.05, 5e-4, 200
    rng = np.random.default_rng(0)
    recursion = Recursion(np.ones((400, 8)), REFERENCE.budget, beta)
    gaps = []
    for t in range(-160, num_rounds):
        rates = LIMITS.low + speed * max(0, t)
        gaps.append(optimal_utilities(rates[None], 20)[0] - log_utility(recursion.goodputs).mean())
        recursion.advance(geometric_goodputs(rates, recursion.decide(rates), rng))
    charge = LIMITS.lipschitz(20) * speed / beta
    assert 0.7 * charge < float(np.mean(gaps[-100:])) < charge + 0.06
