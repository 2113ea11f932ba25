"""Theorems 1 and 4: the smaller beta, the surer X (after T / beta rounds) and a window's mean goodput are near x*."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.problem import Floats, Problem, log_utility
from goodspeed.fluid.recursion import RatioEstimate, Recursion, geometric_goodputs
from goodspeed.fluid.update import Update, towards

INITIAL_RATE = 0.5
INITIAL_GOODPUT = 1.0


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is held fixed while beta shrinks."""

    num_runs: int
    settle: float = 10.0
    """T: rounds 0 to T / beta are not counted."""
    window: float = 10.0
    """T*: the next T* / beta rounds are."""
    radius: float = 0.6
    """epsilon, of the distance of X to x*."""
    window_radius: float = 0.25
    """epsilon, of the distance of the window's mean goodput to x*."""


@dataclass(frozen=True, slots=True)
class Spot:
    """One beta of the sweep."""

    beta: float
    eta: float | None  # None: acceptance is known
    far_probability: float
    """Largest over the window's rounds: share of runs with |X(t) - x*| > radius (theorem 1)."""
    window_far_probability: float
    """Share of runs whose mean goodput over the window is further than window_radius from x* (theorem 4)."""
    mean_distance: float
    """Mean of |X(t) - x*| over runs and the window's rounds."""
    window_utility: float
    """Mean over runs of U(mean goodput over the window)."""


def known_acceptance(
    problem: Problem, beta: float, sweep: Sweep, rng: np.random.Generator, update: Update = towards
) -> Spot:
    """Eq. 4 and 5 with the true acceptance rates."""
    recursion = _start(problem, beta, sweep, update)

    def rounds() -> Iterator[Floats]:
        while True:
            yield geometric_goodputs(problem.rates, recursion.decide(problem.rates), rng)

    return _watch(problem, recursion, sweep, rounds(), None)


def estimated_acceptance(
    problem: Problem, beta: float, sweep: Sweep, rng: np.random.Generator, update: Update = towards
) -> Spot:
    """Eq. 3 to 5, all estimated from ignorance, with eta = beta^1.5: eta / beta vanishes with beta, as A3 wants."""
    recursion = _start(problem, beta, sweep, update)
    estimate = RatioEstimate(problem.rates, beta**1.5, np.full(recursion.goodputs.shape, INITIAL_RATE))

    def rounds() -> Iterator[Floats]:
        while True:
            yield estimate.verify(recursion.decide(estimate.believed), rng)

    return _watch(problem, recursion, sweep, rounds(), estimate.eta)


def _start(problem: Problem, beta: float, sweep: Sweep, update: Update) -> Recursion:
    goodputs = np.full((sweep.num_runs, problem.num_clients), INITIAL_GOODPUT)
    return Recursion(goodputs, problem.budget, beta, update)


def _watch(problem: Problem, recursion: Recursion, sweep: Sweep, rounds: Iterator[Floats], eta: float | None) -> Spot:
    best = problem.optimum().goodputs
    slowest = recursion.beta if eta is None else min(recursion.beta, eta)
    for _ in range(round(sweep.settle / slowest)):
        recursion.advance(next(rounds))
    num_rounds = round(sweep.window / recursion.beta)
    total, far, distance = np.zeros_like(recursion.goodputs), 0.0, 0.0
    for _ in range(num_rounds):
        newest = next(rounds)
        recursion.advance(newest)
        total += newest
        distances = np.linalg.norm(recursion.goodputs - best, axis=1)
        far = max(far, float(np.mean(~(distances <= sweep.radius))))
        distance += float(distances.mean()) / num_rounds
    means = total / num_rounds
    window_far = ~(np.linalg.norm(means - best, axis=1) <= sweep.window_radius)
    utility = float(log_utility(means).mean())
    return Spot(recursion.beta, eta, far, float(window_far.mean()), distance, utility)
