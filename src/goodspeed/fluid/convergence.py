"""Theorems 1 and 4: as beta decreases, X (after T / beta rounds) and a window's mean goodput converge to x*."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.problem import Floats, LongRunProblem, log_utility
from goodspeed.fluid.recursion import AcceptanceEstimate, Recursion, geometric_goodputs
from goodspeed.fluid.update import Update, ewma_update

INITIAL_RATE = 0.5
INITIAL_GOODPUT = 1.0


@dataclass(frozen=True, slots=True)
class StepSizeSweep:
    """The parameters that stay fixed while beta decreases."""

    num_runs: int
    settle: float = 10.0
    """T: the first T / beta rounds are not counted."""
    window: float = 10.0
    """T*: the next T* / beta rounds are counted."""
    radius: float = 0.6
    """epsilon, of the distance of X to x*."""
    window_radius: float = 0.25
    """epsilon, of the distance of the window's mean goodput to x*."""


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """The results for one beta."""

    beta: float
    eta: float | None  # None: acceptance is known
    far_probability: float
    """Maximum over the window's rounds: share of runs with |X(t) - x*| > radius (theorem 1)."""
    window_far_probability: float
    """Share of runs whose mean goodput over the window is further than window_radius from x* (theorem 4)."""
    mean_distance: float
    """Mean of |X(t) - x*| over runs and the window's rounds."""
    window_utility: float
    """Mean over runs of U(mean goodput over the window)."""


def known_acceptance(
    problem: LongRunProblem, beta: float, sweep: StepSizeSweep, rng: np.random.Generator, update: Update = ewma_update
) -> SweepPoint:
    """Simulate eq. 4 and 5 with the true acceptance rates."""
    recursion = _start(problem, beta, sweep, update)

    def rounds() -> Iterator[Floats]:
        while True:
            yield geometric_goodputs(problem.rates, recursion.decide(problem.rates), rng)

    return _measure(problem, recursion, sweep, rounds(), None)


def estimated_acceptance(
    problem: LongRunProblem, beta: float, sweep: StepSizeSweep, rng: np.random.Generator, update: Update = ewma_update
) -> SweepPoint:
    """Simulate eq. 3 to 5 with estimated rates and eta = beta^1.5, so that eta / beta vanishes as A3 requires."""
    recursion = _start(problem, beta, sweep, update)
    estimate = AcceptanceEstimate(problem.rates, beta**1.5, np.full(recursion.goodputs.shape, INITIAL_RATE))

    def rounds() -> Iterator[Floats]:
        while True:
            yield estimate.verify(recursion.decide(estimate.estimated_rates), rng)

    return _measure(problem, recursion, sweep, rounds(), estimate.eta)


def _start(problem: LongRunProblem, beta: float, sweep: StepSizeSweep, update: Update) -> Recursion:
    goodputs = np.full((sweep.num_runs, problem.num_clients), INITIAL_GOODPUT)
    return Recursion(goodputs, problem.budget, beta, update)


def _measure(
    problem: LongRunProblem, recursion: Recursion, sweep: StepSizeSweep, rounds: Iterator[Floats], eta: float | None
) -> SweepPoint:
    best = problem.optimum().goodputs
    slowest = recursion.beta if eta is None else min(recursion.beta, eta)
    for _ in range(round(sweep.settle / slowest)):
        recursion.advance(next(rounds))
    num_rounds = round(sweep.window / recursion.beta)
    total, far, distance = np.zeros_like(recursion.goodputs), 0.0, 0.0
    for _ in range(num_rounds):
        latest = next(rounds)
        recursion.advance(latest)
        total += latest
        distances = np.linalg.norm(recursion.goodputs - best, axis=1)
        far = max(far, float(np.mean(~(distances <= sweep.radius))))
        distance += float(distances.mean()) / num_rounds
    means = total / num_rounds
    window_far = ~(np.linalg.norm(means - best, axis=1) <= sweep.window_radius)
    utility = float(log_utility(means).mean())
    return SweepPoint(recursion.beta, eta, far, float(window_far.mean()), distance, utility)
