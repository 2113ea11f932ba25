"""The cost of curvature and noise in one round, for a client's part of the utility (docs/explain/theory.md, step 3).

With u = 1 / X and x the round's goodput, the client's part of U(X) moves by log(1 + beta (x u - 1)). Its slope predicts
beta (x u - 1). The cost is

    (1 / tilt) log E[(1 + beta (x u - 1))^(-tilt)] + beta (E[x] u - 1)   >= 0,

for tilt -> 0 the mean difference of prediction and move; a larger tilt accounts for less probable, larger differences.
"""

from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.problem import Floats, Ints


@dataclass(frozen=True, slots=True)
class CostRule:
    """Parameters of the cost."""

    beta: float  # of eq. 4
    tilt: float  # theta > 0
    descent_share: float = 1.0
    """The share of the predicted move that stays in the cost; the a-priori bound uses the rest as descent."""


def step_cost(
    slopes: Floats,  # [...], u = 1 / X, at most 1
    grants: Ints,  # [...], S
    low: Floats,  # [...], lower limit of the client's acceptance rate
    high: Floats,  # [...], upper limit
    rule: CostRule,
) -> Floats:
    """The maximum cost over acceptance rates in [low, high], elementwise: exact where low = high, else an upper bound.

    log E[Y] <= log m + E[Y] / m - 1 for any m > 0, here the mean at the middle rate. The rest is the mean of a
    function f of x, f(1) + sum_k a^k (f(k + 1) - f(k)), whose terms have their maximum at an end of the interval.
    """
    beta, tilt = rule.beta, rule.tilt
    steps = np.arange(1, int(np.max(grants, initial=0)) + 1)
    committed = np.concatenate([[1], steps + 1])  # x
    reach = committed * slopes[..., None]
    moved = (1.0 + beta * (reach - 1.0)) ** -tilt
    is_granted = steps <= grants[..., None]
    survival = np.where(is_granted, (0.5 * (low + high))[..., None] ** steps, 0.0)
    centre = moved[..., 0] + (survival * np.diff(moved, axis=-1)).sum(axis=-1)
    value = moved / (tilt * centre[..., None]) + rule.descent_share * beta * reach
    rises = np.diff(value, axis=-1)
    ends = np.where(rises > 0.0, high[..., None], low[..., None])
    max_value = value[..., 0] + (np.where(is_granted, ends**steps, 0.0) * rises).sum(axis=-1)
    cost: Floats = max_value + (np.log(centre) - 1.0) / tilt - rule.descent_share * beta
    return cost


def estimation_error_cost(
    slopes: Floats,  # [...]
    grants: Ints,  # [...]
    high: Floats,  # [...], upper limit of the true and of the estimated acceptance rate
    error: float,
) -> Floats:
    """An upper bound on u |mu(estimated a, S) - mu(a, S)|, elementwise: the error times the maximum slope of mu."""
    steps = np.arange(1, int(np.max(grants, initial=0)) + 1)
    steepness = np.where(steps <= grants[..., None], steps * high[..., None] ** (steps - 1), 0.0).sum(axis=-1)
    cost: Floats = error * slopes * steepness
    return cost
