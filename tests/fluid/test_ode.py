"""The fluid path."""

import numpy as np
import pytest

from goodspeed.fluid.ode import fluid_path, utility_bound
from goodspeed.fluid.problem import REFERENCE, LongRunProblem, log_utility


def test_reference_distances() -> None:
    """Independent values for this problem: 7.07, .94, .126, .017, .003 at t = 0, 2, 4, 6, 8."""
    path = fluid_path(REFERENCE, np.full(8, 0.2), 8.0, 0.005)
    best = REFERENCE.optimum().goodputs
    distances = [float(np.linalg.norm(path.at(time) - best)) for time in (0.0, 2.0, 4.0, 6.0, 8.0)]
    assert distances == pytest.approx((7.07, 0.94, 0.126, 0.017, 0.003), rel=0.03, abs=1e-3)


def test_single_client_approaches_its_optimum_as_e_to_the_minus_t() -> None:
    path = fluid_path(LongRunProblem((0.5,), 2), np.array([0.5]), 3.0, 0.01)
    assert path.at(2.0) == pytest.approx(1.75 - 1.25 * np.exp(-2.0))


@pytest.mark.parametrize("start", [0.2, 1.0, 6.0])
def test_gap_decreases_as_e_to_the_minus_t_plus_the_allowance(start: float) -> None:
    path = fluid_path(REFERENCE, np.full(8, start), 4.0, 0.01)
    best = REFERENCE.optimum().utility
    gaps = best - log_utility(path.goodputs)
    assert np.all(gaps <= utility_bound(path, best) + 1e-9)


def test_the_allowance_vanishes_with_the_step() -> None:
    coarse, fine = (fluid_path(REFERENCE, np.ones(8), 2.0, step).allowances[-1] for step in (0.02, 0.002))
    assert fine < 0.15 * coarse < 0.05


def test_all_clients_leave_the_boundary_at_once() -> None:
    start = np.array([0.0, 0.0, 0.0, 0.0, 1.6, 3.4, 1.4, 2.7])
    path = fluid_path(REFERENCE, start, 1.0, 0.01)
    assert np.all(path.goodputs[1] > 0.0)
    assert path.goodputs[1][:4].sum() / 0.01 > 4.0
