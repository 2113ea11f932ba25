"""What one round costs a client's part of the utility beyond its mean: curvature and noise (docs/theory.md, step 3).

With u = 1 / X and x the round's goodput, the client's part of U(X) moves by log(1 + beta (x u - 1)). Its slope promises
beta (x u - 1). The cost is

    (1 / tilt) log E[(1 + beta (x u - 1))^(-tilt)] + beta (E[x] u - 1)   >= 0,

for tilt -> 0 the mean of what the promise exceeds the move by; a larger tilt charges for the chance of worse.
"""

from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.problem import Floats, Ints


@dataclass(frozen=True, slots=True)
class Rule:
    """How a round is charged."""

    beta: float  # of eq. 4
    tilt: float  # theta > 0
    descent_kept: float = 1.0
    """The share of the slope's promise that stays in the cost; the rest is the descent's to keep (a-priori bound)."""


def step_cost(
    slopes: Floats,  # [...], u = 1 / X, at most 1
    grants: Ints,  # [...], S
    low: Floats,  # [...], the client's acceptance rate is from `low`
    high: Floats,  # [...], to `high`
    rule: Rule,
) -> Floats:
    """The greatest cost for any acceptance rate in [low, high], elementwise; exact where low = high, else from above.

    log E[Y] <= log m + E[Y] / m - 1 for any m > 0, here the mean at the middle rate. What is left is the mean of one
    function f of x, f(1) + sum_k a^k (f(k + 1) - f(k)), whose terms are greatest at one end of the interval.
    """
    beta, tilt = rule.beta, rule.tilt
    steps = np.arange(1, int(np.max(grants, initial=0)) + 1)
    committed = np.concatenate([[1], steps + 1])  # x
    reach = committed * slopes[..., None]
    moved = (1.0 + beta * (reach - 1.0)) ** -tilt
    is_granted = steps <= grants[..., None]
    survival = np.where(is_granted, (0.5 * (low + high))[..., None] ** steps, 0.0)
    centre = moved[..., 0] + (survival * np.diff(moved, axis=-1)).sum(axis=-1)
    value = moved / (tilt * centre[..., None]) + rule.descent_kept * beta * reach
    rises = np.diff(value, axis=-1)
    ends = np.where(rises > 0.0, high[..., None], low[..., None])
    greatest = value[..., 0] + (np.where(is_granted, ends**steps, 0.0) * rises).sum(axis=-1)
    cost: Floats = greatest + (np.log(centre) - 1.0) / tilt - rule.descent_kept * beta
    return cost


def belief_cost(
    slopes: Floats,  # [...]
    grants: Ints,  # [...]
    high: Floats,  # [...], neither the true nor the believed acceptance rate is above
    error: float,
) -> Floats:
    """u |mu(believed a, S) - mu(a, S)|, elementwise, at most: the error times the steepest mu."""
    steps = np.arange(1, int(np.max(grants, initial=0)) + 1)
    steepness = np.where(steps <= grants[..., None], steps * high[..., None] ** (steps - 1), 0.0).sum(axis=-1)
    cost: Floats = error * slopes * steepness
    return cost
