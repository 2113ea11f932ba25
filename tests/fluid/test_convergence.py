"""The recursion and its convergence with decreasing steps."""

from collections.abc import Callable

import numpy as np
import pytest

from goodspeed.fluid.convergence import StepSizeSweep, SweepPoint, estimated_acceptance, known_acceptance
from goodspeed.fluid.problem import REFERENCE, LongRunProblem, expected_tokens
from goodspeed.fluid.recursion import AcceptanceEstimate, geometric_goodputs

Recipe = Callable[[LongRunProblem, float, StepSizeSweep, np.random.Generator], SweepPoint]
SWEEP = StepSizeSweep(num_runs=40, settle=6.0, window=6.0)


def test_drawn_goodputs_have_the_expected_mean() -> None:
    rates, grants = np.array([0.9, 0.5, 0.3]), np.tile([6, 2, 0], (40_000, 1))
    drawn = geometric_goodputs(rates, grants, np.random.default_rng(0))
    assert drawn.mean(axis=0) == pytest.approx(expected_tokens(rates, grants[0]), rel=0.01)
    assert drawn.max(axis=0).tolist() == [7.0, 3.0, 1.0]


def test_equation_3_uses_all_ratios_and_ignores_grants_of_0() -> None:
    rng = np.random.default_rng(0)
    estimate = AcceptanceEstimate(np.array([0.8, 0.4]), 0.02, np.full((500, 2), 0.5))
    for _ in range(400):
        drawn = estimate.verify(np.tile([3, 0], (500, 1)), rng)
    assert estimate.estimated_rates.mean(axis=0) == pytest.approx((0.8, 0.5), abs=0.005)
    assert drawn[:, 0].mean() == pytest.approx(1 + 0.8 + 0.64 + 0.512, rel=0.05)
    assert np.all(drawn[:, 1] == 1.0)


@pytest.mark.parametrize("acceptance", [known_acceptance, estimated_acceptance])
def test_smaller_steps_end_closer_to_the_optimum(acceptance: Recipe) -> None:
    coarse, fine = (acceptance(REFERENCE, beta, SWEEP, np.random.default_rng(0)) for beta in (0.5, 0.05))
    assert coarse.far_probability == 1.0
    assert fine.far_probability < 0.6
    assert fine.window_far_probability < 0.8 * coarse.window_far_probability
    assert fine.mean_distance < 0.3 * coarse.mean_distance


def test_reference_distances_of_the_recursion() -> None:
    """Independent values: E of the distance of X to x* is 1.64 at beta .5 and .565 at beta .1, acceptance known."""
    sweep = StepSizeSweep(num_runs=100, settle=8.0, window=20.0)
    distances = [
        known_acceptance(REFERENCE, beta, sweep, np.random.default_rng(1)).mean_distance for beta in (0.5, 0.1)
    ]
    assert distances == pytest.approx((1.64, 0.565), rel=0.03)
