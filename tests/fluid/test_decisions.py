"""The vectorised decisions equal those of the scheduler."""

import numpy as np
import pytest

from goodspeed.fluid.decisions import gradient_grants
from goodspeed.fluid.problem import LongRunProblem, expected_tokens, optimal_utilities
from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.scheduler import Budget, ClientView


def test_every_run_gets_the_decision_of_the_scheduler() -> None:
    rng = np.random.default_rng(0)
    goodputs, rates = rng.uniform(1.0, 6.0, (100, 6)), rng.uniform(0.1, 0.97, (100, 6))
    grants = gradient_grants(1.0 / goodputs, rates, 13)
    for run in range(100):
        views = [ClientView(float(a), float(x)) for a, x in zip(rates[run], goodputs[run], strict=True)]
        assert grants[run].tolist() == GradientScheduler().grants(views, Budget(13), rng)


def test_a_negative_slope_is_granted_nothing() -> None:
    grants = gradient_grants(np.array([[-1.0, 0.0, 2.0]]), np.array([0.9, 0.9, 0.5]), 4)
    assert grants.tolist() == [[0, 0, 4]]


def test_optimal_utilities_equal_those_of_the_price_search() -> None:
    rates = np.random.default_rng(1).uniform(0.1, 0.95, (30, 5))
    expected = [LongRunProblem(tuple(row), 11).optimum().utility for row in rates.tolist()]
    assert optimal_utilities(rates, 11) == pytest.approx(expected, abs=1e-9)


def test_expected_tokens_are_the_sum_of_survival() -> None:
    assert expected_tokens(np.array([0.5]), np.array([3])) == pytest.approx([1 + 0.5 + 0.25 + 0.125])
