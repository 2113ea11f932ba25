"""Bounds on the tracking error U*(t) - U(X(t)) when acceptance drifts; derived in docs/explain/theory.md.

There are two bounds. The certificate of a run uses X(t) and S(t), which the verifier knows, and holds in every round
with a given probability. The a-priori bound uses only the limits of the drift, and holds for the mean over runs.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.lipschitz import knapsack, utility_lipschitz
from goodspeed.fluid.problem import Floats, Ints
from goodspeed.fluid.step_cost import CostRule, estimation_error_cost, step_cost

NUM_PRICES = 80
CELL_WIDTH = 0.01
DESCENT_SHARES_USED = (0.0, 0.05, 0.1, 0.2, 0.3)
MEAN_TILT = 0.01
"""Small enough to bound the mean; the bound holds at every tilt."""


@dataclass(frozen=True, slots=True)
class DriftLimits:
    """Limits of the acceptance rates that are known in advance."""

    low: Floats  # [clients], no rate is below
    high: Floats  # [clients], no rate is above
    speed: float  # maximum change of a rate per round
    error: float = 0.0  # maximum error of an estimated rate

    @property
    def estimated_range(self) -> tuple[Floats, Floats]:
        """The lowest and the highest estimated rates, each [clients]."""
        return np.maximum(self.low - self.error, 1e-3), np.minimum(self.high + self.error, 1.0 - 1e-3)

    def lipschitz(self, budget: int) -> float:
        """The Lipschitz constant of U* over all true and estimated rates."""
        return utility_lipschitz(*self.estimated_range, budget)


@dataclass(slots=True)
class Certificate:
    """Bounds on the gaps of parallel runs: with probability 1 - risk, a run's gap stays below `bound` in all rounds.

    B(t + 1) = (1 - beta) B(t) + costs of the step + L (speed + beta error); bound = B + log(rounds / risk) / tilt.
    """

    drift: DriftLimits
    lipschitz: float
    rule: CostRule
    margin: float  # log(rounds / risk) / tilt
    level: Floats  # [runs], B; initially the first gap

    @property
    def bound(self) -> Floats:
        """[runs]"""
        return self.level + self.margin

    def advance(self, goodputs: Floats, grants: Ints, estimated_rates: Floats) -> None:
        """Account for a round: grants S at smoothed goodputs X and estimated rates, all [runs, clients]."""
        error, beta = self.drift.error, self.rule.beta
        slopes = 1.0 / goodputs
        low, high = (
            np.maximum(estimated_rates - error, self.drift.low),
            np.minimum(estimated_rates + error, self.drift.high),
        )
        cost = step_cost(slopes, grants, low, high, self.rule).sum(axis=1)
        if error > 0.0:
            reach = np.maximum(high, estimated_rates)
            cost = cost + beta * (
                estimation_error_cost(slopes, grants, reach, error).sum(axis=1) + self.lipschitz * error
            )
        self.level = (1.0 - beta) * self.level + cost + self.lipschitz * self.drift.speed


def best_tilt(num_clients: int, beta: float, log_chance: float) -> float:
    """The tilt that balances its cost with the margin log_chance / tilt, for noise (x - X) / X of about 0.3 per client.

    Every tilt that is chosen in advance gives a valid bound.
    """
    return math.sqrt(2.0 * log_chance / (0.5 * beta * 0.3 * num_clients))


@dataclass(frozen=True, slots=True)
class MeanBound:
    """E[U*(t) - U(X(t))] <= decay^t (its initial value) + limit."""

    limit: float
    decay: float

    def at(self, num_rounds: Floats, initial_gap: float) -> Floats:
        """The bound after a number of rounds, elementwise."""
        bound: Floats = self.decay**num_rounds * initial_gap + self.limit
        return bound


def mean_bound(drift: DriftLimits, budget: int, beta: float) -> MeanBound:
    """The bound for every drift within the limits. It uses only that X stays between 1 and budget + 1.

    Every state (X, S) of the scheduler has a price. A knapsack over the clients bounds the costs of a step, less a
    share of the descent in that state, for all states of a price; the maximum over all prices follows.
    """
    lipschitz = drift.lipschitz(budget)
    prices = np.concatenate([[0.0], np.geomspace(1.0 / (budget + 1) ** 2, 1.0, NUM_PRICES)])
    bounds = []
    for share in DESCENT_SHARES_USED:
        rule = CostRule(beta, MEAN_TILT, 1.0 - share)
        worst = np.array([_worst_costs(client, drift, budget, rule, prices) for client in range(len(drift.low))])
        cost = float(knapsack(worst, budget).max())
        rate = beta * (1.0 - share)
        limit = (cost + lipschitz * drift.speed) / rate + lipschitz * drift.error
        bounds.append(MeanBound(limit, 1.0 - rate))
    return min(bounds, key=lambda bound: bound.limit)


def _worst_costs(client: int, drift: DriftLimits, budget: int, rule: CostRule, prices: Floats) -> Floats:
    """The client's maximum step cost by price interval and grant, [prices - 1, budget + 1].

    At price p a grant of S means u a^S >= p >= u a^(S + 1); costs are convex in u, so their
    maximum is at an end of the range of u.
    """
    low, high = (float(limit[client]) for limit in drift.estimated_range)
    edges = np.linspace(low, high, 1 + max(1, math.ceil((high - low) / CELL_WIDTH)))
    grants = np.arange(budget + 1)
    worst = np.full((len(prices) - 1, budget + 1), -np.inf)
    for below, above in itertools.pairwise(edges):
        min_slopes = np.where(grants > 0, prices[:-1, None] / above**grants, 0.0)
        max_slopes = prices[1:, None] / below ** (grants + 1)
        is_possible = (min_slopes <= 1.0) & (max_slopes >= 1.0 / (budget + 1))
        for end in (min_slopes, max_slopes):
            slopes = np.clip(end, 1.0 / (budget + 1), 1.0)
            cost = _cost_within(slopes, grants, (below, above), drift.error, rule)
            worst = np.where(is_possible, np.maximum(worst, cost), worst)
    return worst


def _cost_within(
    slopes: Floats, grants: Ints, estimate_range: tuple[float, float], error: float, rule: CostRule
) -> Floats:
    """Costs for estimated rates within `estimate_range` and true rates within `error` of them."""
    shape = slopes.shape
    everywhere = np.broadcast_to(grants, shape)
    low, high = (
        np.full(shape, max(estimate_range[0] - error, 1e-3)),
        np.full(shape, min(estimate_range[1] + error, 1.0 - 1e-3)),
    )
    cost = step_cost(slopes, everywhere, low, high, rule)
    if error > 0.0:
        cost = cost + rule.descent_share * rule.beta * estimation_error_cost(slopes, everywhere, high, error)
    return cost
