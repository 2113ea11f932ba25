"""The cost of a round compared with the sum over all outcomes."""

import numpy as np
import pytest

from goodspeed.fluid.problem import Floats
from goodspeed.fluid.step_cost import CostRule, estimation_error_cost, step_cost

RNG = np.random.default_rng(0)


def _exact(slope: float, grant: int, rate: float, rule: CostRule) -> float:
    """The cost by the distribution of the round's goodput x."""
    chances = np.array([rate**k * (1 - rate) for k in range(grant)] + [rate**grant])
    moves = np.log(1 + rule.beta * (np.arange(1, grant + 2) * slope - 1))
    mean = chances @ np.arange(1, grant + 2)
    return float(np.log(chances @ np.exp(-rule.tilt * moves)) / rule.tilt + rule.beta * (mean * slope - 1))


def _one(value: float) -> Floats:
    return np.array([value])


@pytest.mark.parametrize("tilt", [0.01, 5.0, 40.0])
def test_cost_of_a_known_rate_is_exact(tilt: float) -> None:
    rule = CostRule(0.1, tilt)
    for _ in range(50):
        slope, grant, rate = RNG.uniform(0.1, 1.0), int(RNG.integers(0, 9)), RNG.uniform(0.05, 0.95)
        cost = step_cost(_one(slope), np.array([grant]), _one(rate), _one(rate), rule)
        assert cost == pytest.approx([_exact(slope, grant, rate, rule)], abs=1e-10)


def test_cost_of_an_interval_is_a_tight_bound_for_every_rate_in_it() -> None:
    rule = CostRule(0.1, 10.0)
    for _ in range(100):
        slope, grant, low = RNG.uniform(0.1, 1.0), int(RNG.integers(0, 9)), RNG.uniform(0.3, 0.9)
        cost = float(step_cost(_one(slope), np.array([grant]), _one(low), _one(low + 0.02), rule)[0])
        worst = max(_exact(slope, grant, rate, rule) for rate in np.linspace(low, low + 0.02, 21))
        assert worst - 1e-12 <= cost <= 1.15 * worst + 1e-6


def test_cost_of_a_client_does_not_depend_on_other_grants() -> None:
    rule, slopes, rates = CostRule(0.05, 3.0), np.array([0.5, 0.3]), np.array([0.6, 0.9])
    together = step_cost(slopes, np.array([1, 7]), rates, rates, rule)
    assert together == pytest.approx([_exact(0.5, 1, 0.6, rule), _exact(0.3, 7, 0.9, rule)])


def test_estimation_error_cost_bounds_the_difference_of_expected_tokens() -> None:
    for estimated_rates in (0.60, 0.64):
        difference = abs(sum(estimated_rates**k for k in range(6)) - sum(0.62**k for k in range(6)))
        cost = float(estimation_error_cost(_one(0.5), np.array([5]), _one(0.64), 0.02)[0])
        assert 0.5 * difference <= cost <= 0.6 * difference
