"""The fluid path x' = v - x, v in argmax_v sum_i U'(x_i) v_i: the limit of the recursion for small steps.

The path is integrated with v constant over short steps h, on each of which the solution is exact: x moves towards v by
the share 1 - e^-h. The curvature of U costs utility in each step (not in the limit h -> 0). This cost is computed and
allowed for in the bound.
"""

import math
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.decisions import gradient_grants, log_slopes
from goodspeed.fluid.problem import Floats, LongRunProblem, expected_tokens, log_utility
from goodspeed.fluid.update import Update, ewma_update


@dataclass(frozen=True, slots=True)
class FluidPath:
    """A solution, at all steps."""

    times: Floats  # [steps + 1]
    goodputs: Floats  # [steps + 1, clients]
    allowances: Floats
    """[steps + 1]: the utility that curvature has cost so far, decayed by e^-t since each step."""

    def at(self, time: float) -> Floats:
        """Goodputs at the step nearest to `time`, [clients]."""
        nearest: Floats = self.goodputs[int(np.argmin(np.abs(self.times - time)))]
        return nearest


def fluid_path(
    problem: LongRunProblem,
    start: Floats,  # [clients], at least 0
    horizon: float,
    step: float,
    update: Update = ewma_update,
) -> FluidPath:
    """Integrate from `start` to `horizon`; time is measured in 1 / beta rounds."""
    num_steps = round(horizon / step)
    goodputs = np.empty((num_steps + 1, len(start)))
    allowances = np.zeros(num_steps + 1)
    goodputs[0] = start
    for k in range(num_steps):
        slopes = log_slopes(goodputs[k])
        grants = gradient_grants(slopes[None], problem.rates, problem.budget)[0]
        best = expected_tokens(problem.rates, grants)
        goodputs[k + 1] = update(goodputs[k], best, -math.expm1(-step))
        allowances[k + 1] = math.exp(-step) * allowances[k] + _curvature_cost(goodputs[k], best, step)
    return FluidPath(np.linspace(0.0, num_steps * step, num_steps + 1), goodputs, allowances)


def _curvature_cost(goodputs: Floats, best: Floats, step: float) -> float:
    """The gain of U predicted by its slope, less its true gain, from `goodputs` towards `best`; 0 at the boundary."""
    if np.any(goodputs <= 0.0):
        return 0.0
    gain = -math.expm1(-step) * (best / goodputs - 1.0)
    return float(np.sum(gain - np.log1p(gain)))


def utility_bound(path: FluidPath, best_utility: float, since: int = 0) -> Floats:
    """An upper bound on U* - U(x(t)) from step `since` on, [steps + 1 - since]: e^-t of the first gap, plus allowances.

    From concavity: dU/dt = sum U'(x_i) (v_i - x_i) >= sum U'(x_i) (x*_i - x_i) >= U* - U(x).
    """
    decay = np.exp(path.times[since] - path.times[since:])
    bound: Floats = decay * (best_utility - log_utility(path.goodputs[since])) + path.allowances[since:]
    return bound
