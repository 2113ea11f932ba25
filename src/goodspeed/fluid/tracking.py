"""Drifting runs compared with the bounds: the recursion with gradient decisions while acceptance rates change."""

import math
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.bound import MEAN_TILT, Certificate, DriftLimits, best_tilt, mean_bound
from goodspeed.fluid.drifts import DRIFT_KINDS
from goodspeed.fluid.problem import Floats, log_utility, optimal_utilities
from goodspeed.fluid.recursion import Recursion, geometric_goodputs
from goodspeed.fluid.step_cost import CostRule
from goodspeed.fluid.update import Update, ewma_update

NUM_PLOTTED = 3  # runs that are plotted


@dataclass(frozen=True, slots=True)
class DriftExperiment:
    """Parameters of an experiment with drifting rates."""

    drift: DriftLimits
    budget: int
    beta: float
    num_rounds: int
    num_paths: int  # drift paths, of all kinds in turn
    runs_per_path: int
    risk: float = 1e-6
    """Maximum probability that a run exceeds its certificate in any round."""

    @property
    def num_runs(self) -> int:
        return self.num_paths * self.runs_per_path


@dataclass(frozen=True, slots=True)
class TrackingResult:
    """Measured gaps U*(t) - U(X(t)) and their bounds. Settled rounds are those from 5 / beta on."""

    beta: float
    speed: float
    error: float
    lipschitz: float
    num_runs: int
    num_runs_within: int  # runs whose gap is within their certificate in every round
    max_gap: float  # over all runs and settled rounds
    min_slack: float  # minimum of certificate - gap over all runs and rounds
    mean_certificate: float  # over runs and settled rounds
    mean_gap: float  # likewise
    max_mean_gap: float  # of the settled rounds: the mean over runs
    max_mean_bound: float  # likewise, of the certificate for the mean
    mean_limit: float  # a-priori bound on the mean gap, without the transient
    num_rounds_above: int  # rounds whose mean gap over runs exceeds one of its two bounds
    plotted_gaps: Floats  # [rounds, NUM_PLOTTED]
    plotted_certificates: Floats  # [rounds, NUM_PLOTTED]


def run_drift_experiment(
    setting: DriftExperiment, rng: np.random.Generator, update: Update = ewma_update
) -> TrackingResult:
    """Simulate all rounds of all runs."""
    drift = setting.drift
    rates, best = _paths(setting, rng)
    errors = drift.error * rng.choice((-1.0, 1.0), (setting.num_runs, len(drift.low)))
    start = np.ones((setting.num_runs, len(drift.low)))  # the initial state of a verifier
    recursion = Recursion(start, setting.budget, setting.beta, update)
    first = best[0] - log_utility(recursion.goodputs)
    log_chance = math.log(setting.num_rounds / setting.risk)
    certificate = _certificate(setting, first, best_tilt(len(drift.low), setting.beta, log_chance), log_chance)
    certificate_of_mean = _certificate(setting, first, MEAN_TILT, 0.0)
    gaps, bounds, mean_bounds = np.empty_like(best), np.empty_like(best), np.empty(setting.num_rounds)
    for t in range(setting.num_rounds):
        gaps[t] = best[t] - log_utility(recursion.goodputs)
        bounds[t], mean_bounds[t] = certificate.bound, certificate_of_mean.bound.mean()
        estimated_rates = np.clip(rates[t] + errors, *drift.estimated_range)
        grants = recursion.decide(estimated_rates)
        certificate.advance(recursion.goodputs, grants, estimated_rates)
        certificate_of_mean.advance(recursion.goodputs, grants, estimated_rates)
        recursion.advance(geometric_goodputs(rates[t], grants, rng))
    return _tracking(setting, gaps, bounds, mean_bounds)


def _paths(setting: DriftExperiment, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Rates, [rounds, runs, clients], and their U*, [rounds, runs]; the runs of a path share both."""
    rates = np.stack(
        [
            DRIFT_KINDS[path % len(DRIFT_KINDS)](setting.drift, setting.num_rounds, rng)
            for path in range(setting.num_paths)
        ],
        axis=1,
    )
    best = np.stack([optimal_utilities(round_rates, setting.budget) for round_rates in rates])
    return np.repeat(rates, setting.runs_per_path, axis=1), np.repeat(best, setting.runs_per_path, axis=1)


def _certificate(setting: DriftExperiment, initial_gaps: Floats, tilt: float, log_chance: float) -> Certificate:
    lipschitz = setting.drift.lipschitz(setting.budget)
    return Certificate(setting.drift, lipschitz, CostRule(setting.beta, tilt), log_chance / tilt, initial_gaps.copy())


def _tracking(setting: DriftExperiment, gaps: Floats, bounds: Floats, mean_bounds: Floats) -> TrackingResult:
    a_priori = mean_bound(setting.drift, setting.budget, setting.beta)
    mean_gaps = gaps.mean(axis=1)
    settled = slice(min(round(5.0 / setting.beta), setting.num_rounds - 1), None)
    limits = np.minimum(mean_bounds, a_priori.at(np.arange(setting.num_rounds, dtype=float), float(mean_gaps[0])))
    return TrackingResult(
        beta=setting.beta,
        speed=setting.drift.speed,
        error=setting.drift.error,
        lipschitz=setting.drift.lipschitz(setting.budget),
        num_runs=setting.num_runs,
        num_runs_within=int((gaps <= bounds).all(axis=0).sum()),
        max_gap=float(gaps[settled].max()),
        min_slack=float((bounds - gaps).min()),
        mean_certificate=float(bounds[settled].mean()),
        mean_gap=float(gaps[settled].mean()),
        max_mean_gap=float(mean_gaps[settled].max()),
        max_mean_bound=float(mean_bounds[settled].max()),
        mean_limit=a_priori.limit,
        num_rounds_above=int((~(mean_gaps <= limits)).sum()),
        plotted_gaps=gaps[:, :NUM_PLOTTED],
        plotted_certificates=bounds[:, :NUM_PLOTTED],
    )
