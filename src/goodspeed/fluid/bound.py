"""Bounds on the tracking error U*(t) - U(X(t)) when acceptance drifts; derived in docs/theory.md.

Two of them: a certificate that follows a run (it uses X(t) and S(t), which the verifier sees, and holds at every round
with a stated chance), and one in advance (from the drift's limits alone, for the mean over runs).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.lipschitz import knapsack, utility_lipschitz
from goodspeed.fluid.problem import Floats, Ints
from goodspeed.fluid.step_cost import Rule, belief_cost, step_cost

NUM_PRICES = 80
CELL_WIDTH = 0.01
SHARES_GIVEN_UP = (0.0, 0.05, 0.1, 0.2, 0.3)
MEAN_TILT = 0.01
"""Small enough to charge for the mean; the bound holds at any tilt."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What is known of the acceptance rates in advance."""

    low: Floats  # [clients], every rate stays from here
    high: Floats  # [clients], to here
    speed: float  # no rate moves by more in a round
    error: float = 0.0  # no belief of the scheduler is further from the truth

    @property
    def believed(self) -> tuple[Floats, Floats]:
        """Where the beliefs stay."""
        return np.maximum(self.low - self.error, 1e-3), np.minimum(self.high + self.error, 1.0 - 1e-3)

    def lipschitz(self, budget: int) -> float:
        """Of U* wherever rates or beliefs may be."""
        return utility_lipschitz(*self.believed, budget)


@dataclass(slots=True)
class Certificate:
    """Follows runs side by side: with probability 1 - risk of each run, its gap stays below `bound` in all rounds.

    B(t + 1) = (1 - beta) B(t) + costs of the step + L (speed + beta error); bound = B + log(rounds / risk) / tilt.
    """

    drift: Drift
    lipschitz: float
    rule: Rule
    margin: float  # log(rounds / risk) / tilt
    level: Floats  # [runs], B; at first the initial gap

    @property
    def bound(self) -> Floats:
        """[runs]"""
        return self.level + self.margin

    def advance(self, goodputs: Floats, grants: Ints, believed: Floats) -> None:
        """A round was decided: grants S at smoothed goodputs X by these beliefs; all [runs, clients]."""
        error, beta = self.drift.error, self.rule.beta
        slopes = 1.0 / goodputs
        low, high = np.maximum(believed - error, self.drift.low), np.minimum(believed + error, self.drift.high)
        cost = step_cost(slopes, grants, low, high, self.rule).sum(axis=1)
        if error > 0.0:
            reach = np.maximum(high, believed)
            cost = cost + beta * (belief_cost(slopes, grants, reach, error).sum(axis=1) + self.lipschitz * error)
        self.level = (1.0 - beta) * self.level + cost + self.lipschitz * self.drift.speed


def best_tilt(num_clients: int, beta: float, log_chance: float) -> float:
    """Balances what a tilt costs against the margin log_chance / tilt, were each client's noise (x - X) / X about 0.3.

    Any tilt that is chosen in advance gives a valid bound.
    """
    return math.sqrt(2.0 * log_chance / (0.5 * beta * 0.3 * num_clients))


@dataclass(frozen=True, slots=True)
class MeanBound:
    """E[U*(t) - U(X(t))] <= decay^t (its initial value) + limit."""

    limit: float
    decay: float

    def at(self, num_rounds: Floats, initial_gap: float) -> Floats:
        """After so many rounds, elementwise."""
        bound: Floats = self.decay**num_rounds * initial_gap + self.limit
        return bound


def mean_bound(drift: Drift, budget: int, beta: float) -> MeanBound:
    """For any drift within the limits; nothing of a run is used but that X stays within 1 and budget + 1.

    A state (X, S) that the scheduler can be in has a price. The step's costs, less a share of the descent in that
    state, are bounded for all states of a price by a knapsack over the clients; then over all prices.
    """
    lipschitz = drift.lipschitz(budget)
    prices = np.concatenate([[0.0], np.geomspace(1.0 / (budget + 1) ** 2, 1.0, NUM_PRICES)])
    bounds = []
    for share in SHARES_GIVEN_UP:
        rule = Rule(beta, MEAN_TILT, 1.0 - share)
        worst = np.array([_worst_costs(client, drift, budget, rule, prices) for client in range(len(drift.low))])
        cost = float(knapsack(worst, budget).max())
        rate = beta * (1.0 - share)
        limit = (cost + lipschitz * drift.speed) / rate + lipschitz * drift.error
        bounds.append(MeanBound(limit, 1.0 - rate))
    return min(bounds, key=lambda bound: bound.limit)


def _worst_costs(client: int, drift: Drift, budget: int, rule: Rule, prices: Floats) -> Floats:
    """The client's greatest step cost by price interval and grant, [prices - 1, budget + 1].

    At price p a grant of S means u a^S >= p >= u a^(S + 1); costs are convex in u, so greatest at an end of its range.
    """
    low, high = (float(limit[client]) for limit in drift.believed)
    edges = np.linspace(low, high, 1 + max(1, math.ceil((high - low) / CELL_WIDTH)))
    grants = np.arange(budget + 1)
    worst = np.full((len(prices) - 1, budget + 1), -np.inf)
    for below, above in itertools.pairwise(edges):
        least = np.where(grants > 0, prices[:-1, None] / above**grants, 0.0)
        most = prices[1:, None] / below ** (grants + 1)
        is_possible = (least <= 1.0) & (most >= 1.0 / (budget + 1))
        for end in (least, most):
            slopes = np.clip(end, 1.0 / (budget + 1), 1.0)
            cost = _cost_within(slopes, grants, (below, above), drift.error, rule)
            worst = np.where(is_possible, np.maximum(worst, cost), worst)
    return worst


def _cost_within(slopes: Floats, grants: Ints, beliefs: tuple[float, float], error: float, rule: Rule) -> Floats:
    """Costs where the belief lies within `beliefs` and the truth within `error` of it."""
    shape = slopes.shape
    everywhere = np.broadcast_to(grants, shape)
    low, high = np.full(shape, max(beliefs[0] - error, 1e-3)), np.full(shape, min(beliefs[1] + error, 1.0 - 1e-3))
    cost = step_cost(slopes, everywhere, low, high, rule)
    if error > 0.0:
        cost = cost + rule.descent_kept * rule.beta * belief_cost(slopes, everywhere, high, error)
    return cost
