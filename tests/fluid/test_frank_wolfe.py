"""Frank-Wolfe with the scheduler as oracle: the optimum, and distances to the reachable set."""

import numpy as np
import pytest

from goodspeed.fluid.frank_wolfe import best_goodputs, hull_distance
from goodspeed.fluid.problem import REFERENCE, LongRunProblem


@pytest.mark.parametrize("problem", [REFERENCE, LongRunProblem((0.95, 0.3, 0.6), 7), LongRunProblem((0.5,) * 5, 8)])
def test_frank_wolfe_finds_the_optimum_of_the_price_search(problem: LongRunProblem) -> None:
    found = best_goodputs(problem, 1e-8)
    assert found.gap <= 1e-8
    assert found.point == pytest.approx(problem.optimum().goodputs, abs=2e-3)


def test_distance_to_the_reachable_set() -> None:
    problem = LongRunProblem((0.5, 0.5), 1)  # the triangle (1, 1), (1.5, 1), (1, 1.5)
    assert hull_distance(problem, np.array([1.1, 1.2])) == pytest.approx(0.0, abs=1e-3)
    assert hull_distance(problem, np.array([0.0, 1.0])) == pytest.approx(1.0, abs=1e-3)
    assert hull_distance(problem, np.array([2.0, 2.0])) == pytest.approx(1.5 / np.sqrt(2), abs=1e-3)
