"""Drifting runs held against the bounds: the recursion with gradient decisions while acceptance rates move."""

import math
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.bound import MEAN_TILT, Certificate, Drift, best_tilt, mean_bound
from goodspeed.fluid.drifts import KINDS
from goodspeed.fluid.problem import Floats, log_utility, optimal_utilities
from goodspeed.fluid.recursion import Recursion, geometric_goodputs
from goodspeed.fluid.step_cost import Rule
from goodspeed.fluid.update import Update, towards

NUM_SHOWN = 3  # runs whose path is kept for the plot


@dataclass(frozen=True, slots=True)
class Chase:
    """One experiment."""

    drift: Drift
    budget: int
    beta: float
    num_rounds: int
    num_paths: int  # of the drift, kinds in turns
    runs_per_path: int
    risk: float = 1e-6
    """Chance that a run's certificate may fail in any of its rounds."""

    @property
    def num_runs(self) -> int:
        return self.num_paths * self.runs_per_path


@dataclass(frozen=True, slots=True)
class Tracking:
    """What came of it; gaps are U*(t) - U(X(t)), rounds from 5 / beta on are called settled."""

    beta: float
    speed: float
    error: float
    lipschitz: float
    num_runs: int
    num_holding: int  # runs whose gap was within their certificate in every round
    largest_gap: float  # of any run in any settled round
    least_slack: float  # certificate less gap, of any run in any round
    mean_certificate: float  # over runs and settled rounds
    mean_gap: float  # likewise
    largest_mean_gap: float  # of the settled rounds: the mean over runs
    largest_mean_bound: float  # likewise, of the certificate for the mean
    mean_limit: float  # the bound in advance on the mean gap, transient aside
    num_rounds_above: int  # in which the mean gap over runs was above one of its two bounds
    shown_gaps: Floats  # [rounds, NUM_SHOWN]
    shown_certificates: Floats  # [rounds, NUM_SHOWN]


def chase(setting: Chase, rng: np.random.Generator, update: Update = towards) -> Tracking:
    """Run all rounds of all runs."""
    drift = setting.drift
    rates, best = _paths(setting, rng)
    wrong = drift.error * rng.choice((-1.0, 1.0), (setting.num_runs, len(drift.low)))
    start = np.ones((setting.num_runs, len(drift.low)))  # a verifier that knows nothing
    recursion = Recursion(start, setting.budget, setting.beta, update)
    first = best[0] - log_utility(recursion.goodputs)
    log_chance = math.log(setting.num_rounds / setting.risk)
    certificate = _certificate(setting, first, best_tilt(len(drift.low), setting.beta, log_chance), log_chance)
    for_mean = _certificate(setting, first, MEAN_TILT, 0.0)
    gaps, bounds, mean_bounds = np.empty_like(best), np.empty_like(best), np.empty(setting.num_rounds)
    for t in range(setting.num_rounds):
        gaps[t] = best[t] - log_utility(recursion.goodputs)
        bounds[t], mean_bounds[t] = certificate.bound, for_mean.bound.mean()
        believed = np.clip(rates[t] + wrong, *drift.believed)
        grants = recursion.decide(believed)
        certificate.advance(recursion.goodputs, grants, believed)
        for_mean.advance(recursion.goodputs, grants, believed)
        recursion.advance(geometric_goodputs(rates[t], grants, rng))
    return _tracking(setting, gaps, bounds, mean_bounds)


def _paths(setting: Chase, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rates, [rounds, runs, clients], and their U*, [rounds, runs]; the runs of a path share both."""
    rates = np.stack(
        [KINDS[path % len(KINDS)](setting.drift, setting.num_rounds, rng) for path in range(setting.num_paths)], axis=1
    )
    best = np.stack([optimal_utilities(now, setting.budget) for now in rates])
    return np.repeat(rates, setting.runs_per_path, axis=1), np.repeat(best, setting.runs_per_path, axis=1)


def _certificate(setting: Chase, initial_gaps: Floats, tilt: float, log_chance: float) -> Certificate:
    lipschitz = setting.drift.lipschitz(setting.budget)
    return Certificate(setting.drift, lipschitz, Rule(setting.beta, tilt), log_chance / tilt, initial_gaps.copy())


def _tracking(setting: Chase, gaps: Floats, bounds: Floats, mean_bounds: Floats) -> Tracking:
    in_advance = mean_bound(setting.drift, setting.budget, setting.beta)
    mean_gaps = gaps.mean(axis=1)
    settled = slice(min(round(5.0 / setting.beta), setting.num_rounds - 1), None)
    limits = np.minimum(mean_bounds, in_advance.at(np.arange(setting.num_rounds, dtype=float), float(mean_gaps[0])))
    return Tracking(
        beta=setting.beta,
        speed=setting.drift.speed,
        error=setting.drift.error,
        lipschitz=setting.drift.lipschitz(setting.budget),
        num_runs=setting.num_runs,
        num_holding=int((gaps <= bounds).all(axis=0).sum()),
        largest_gap=float(gaps[settled].max()),
        least_slack=float((bounds - gaps).min()),
        mean_certificate=float(bounds[settled].mean()),
        mean_gap=float(gaps[settled].mean()),
        largest_mean_gap=float(mean_gaps[settled].max()),
        largest_mean_bound=float(mean_bounds[settled].max()),
        mean_limit=in_advance.limit,
        num_rounds_above=int((~(mean_gaps <= limits)).sum()),
        shown_gaps=gaps[:, :NUM_SHOWN],
        shown_certificates=bounds[:, :NUM_SHOWN],
    )
