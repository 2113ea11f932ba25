"""The long-run problem of the theory: clients with known geometric acceptance share a budget; U is the logarithm."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goodspeed.scheduling.optimum import Optimum, long_run_optimum
from goodspeed.scheduling.scheduler import ClientView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LongRunProblem:
    """max sum_i log x_i over the convex hull of mu(S), sum S_i <= budget."""

    acceptance_rates: tuple[float, ...]  # each 0 < a < 1
    budget: int  # draft tokens per round

    @property
    def num_clients(self) -> int:
        return len(self.acceptance_rates)

    @property
    def rates(self) -> Floats:
        """[clients]"""
        return np.array(self.acceptance_rates)

    def optimum(self) -> Optimum:
        return long_run_optimum([ClientView(rate, 1.0) for rate in self.acceptance_rates], self.budget)


REFERENCE = LongRunProblem((0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75), budget=20)
"""Eight different clients; U* = 7.015."""


def expected_tokens(rates: Floats, grants: Ints) -> Floats:
    """mu = (1 - a^(S+1)) / (1 - a), elementwise."""
    mean: Floats = (1.0 - rates ** (grants + 1)) / (1.0 - rates)
    return mean


def log_utility(goodputs: Floats) -> Floats:
    """sum_i log x_i over the last axis."""
    total: Floats = np.log(goodputs).sum(axis=-1)
    return total


def optimal_utilities(
    rates: Floats,  # [problems, clients]
    budget: int,
) -> Floats:
    """U* of many problems at once, [problems]: the price search of long_run_optimum, vectorised.

    At price 1/y a client buys its j-th token to the part y - (goodput before it) / a^j, between 0 and 1.
    """
    survival = rates[..., None] ** np.arange(1, budget + 1)
    before = 1.0 + np.cumsum(survival, axis=-1) - survival
    thresholds = before / survival
    low, high = np.ones(len(rates)), np.full(len(rates), thresholds.max() + 1.0)
    for _ in range(60):
        middle = np.sqrt(low * high)
        part = np.clip(middle[:, None, None] - thresholds, 0.0, 1.0)
        is_over = part.sum(axis=(1, 2)) > budget
        high, low = np.where(is_over, middle, high), np.where(is_over, low, middle)
    part = np.clip(low[:, None, None] - thresholds, 0.0, 1.0)
    return log_utility(1.0 + (survival * part).sum(axis=-1))
