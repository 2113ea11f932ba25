"""All checks of the theory, and whether each holds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from goodspeed.fluid.bound import DriftLimits
from goodspeed.fluid.convergence import StepSizeSweep, SweepPoint, estimated_acceptance, known_acceptance
from goodspeed.fluid.frank_wolfe import best_goodputs, hull_distance
from goodspeed.fluid.ode import FluidPath, fluid_path, utility_bound
from goodspeed.fluid.problem import REFERENCE, Floats, LongRunProblem, log_utility
from goodspeed.fluid.tracking import DriftExperiment, TrackingResult, run_drift_experiment
from goodspeed.fluid.update import Update, ewma_update
from goodspeed.scheduling.optimum import Optimum

BELOW, WITHIN, ABOVE, BOUNDARY = "below", "within", "above", "boundary"
HORIZON = 8.0
SHOWN_TIMES = (0.0, 2.0, 4.0, 6.0, 8.0)
HULL_TIMES = (0.25, 0.5, 1.0, 2.0)
DRIFT_WIDTH = 0.05  # maximum distance of drifting rates from the problem's
MAX_FAR_PROBABILITY = 0.05  # limit of Pr(far) at the smallest beta


FULL_SWEEP = StepSizeSweep(num_runs=100)


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """The amount of simulation."""

    problem: LongRunProblem = REFERENCE
    step: float = 0.002  # of the fluid path
    sweep: StepSizeSweep = FULL_SWEEP
    known_betas: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    estimated_betas: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02)
    drift_experiments: tuple[tuple[float, float, float], ...] = (
        (0.1, 1e-3, 0.0),
        (0.05, 5e-4, 0.0),
        (0.05, 5e-4, 0.01),
        (0.02, 2e-4, 0.0),
    )
    """(beta, drift per round, error of the estimates)."""
    num_paths: int = 100
    runs_per_path: int = 10
    num_times: int = 20
    """Length of a drifting run, in 1 / beta rounds."""


QUICK = StudyPlan(
    step=0.01,
    sweep=StepSizeSweep(num_runs=40),
    known_betas=(0.5, 0.1, 0.02),
    estimated_betas=(0.5, 0.05),
    drift_experiments=((0.05, 5e-4, 0.01),),
    num_paths=20,
    runs_per_path=5,
    num_times=8,
)


@dataclass(frozen=True, slots=True)
class TheoryCheck:
    """A measured value and its limit."""

    name: str
    measured: float
    relation: str  # <= or >=
    limit: float

    @property
    def holds(self) -> bool:
        """False for NaN."""
        return self.measured <= self.limit if self.relation == "<=" else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class FluidTrajectory:
    """A fluid path from one starting point."""

    name: str
    path: FluidPath
    distances: Floats  # |x(t) - x*| at SHOWN_TIMES


@dataclass(slots=True)
class StudyResult:
    """The results of all checks."""

    problem: LongRunProblem
    optimum: Optimum
    starts: list[FluidTrajectory] = field(default_factory=list)
    known: list[SweepPoint] = field(default_factory=list)
    estimated: list[SweepPoint] = field(default_factory=list)
    tracking: list[TrackingResult] = field(default_factory=list)
    checks: list[TheoryCheck] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def run_study(plan: StudyPlan, rng: np.random.Generator, update: Update = ewma_update) -> StudyResult:
    """Run every check; `update` is the step under test."""
    result = StudyResult(plan.problem, plan.problem.optimum())
    with np.errstate(all="ignore"):  # a wrong update diverges, and its NaN fail the checks
        result.checks.extend(_optimum_checks(result))
        result.starts = [_start(plan, result.optimum, *start, update) for start in _starting_points(result.optimum)]
        result.checks.extend(_fluid_checks(result))
        result.known = [known_acceptance(plan.problem, beta, plan.sweep, rng, update) for beta in plan.known_betas]
        result.estimated = [
            estimated_acceptance(plan.problem, beta, plan.sweep, rng, update) for beta in plan.estimated_betas
        ]
        result.checks.extend(_convergence_checks("known acceptance", result.known, plan.sweep))
        result.checks.extend(_convergence_checks("estimated acceptance", result.estimated, plan.sweep))
        result.tracking = [run_drift_experiment(setting, rng, update) for setting in _drift_experiments(plan)]
        result.checks.extend(check for tracking in result.tracking for check in _tracking_checks(tracking))
    return result


def _optimum_checks(result: StudyResult) -> Iterator[TheoryCheck]:
    other = best_goodputs(result.problem, 1e-7)
    yield TheoryCheck("optimum: certified gap", result.optimum.gap, "<=", 1e-6)
    difference = float(np.abs(other.point - result.optimum.goodputs).max())
    yield TheoryCheck("optimum: distance of Frank-Wolfe's x* from the price search's", difference, "<=", 1e-3)


def _starting_points(optimum: Optimum) -> list[tuple[str, Floats]]:
    num = len(optimum.goodputs)
    boundary = optimum.goodputs.copy()
    boundary[: (num + 1) // 2] = 0.0
    return [(BELOW, np.full(num, 0.2)), (WITHIN, np.ones(num)), (ABOVE, np.full(num, 6.0)), (BOUNDARY, boundary)]


def _start(plan: StudyPlan, optimum: Optimum, name: str, point: Floats, update: Update) -> FluidTrajectory:
    path = fluid_path(plan.problem, point, HORIZON, plan.step, update)
    distances = [np.linalg.norm(path.at(time) - optimum.goodputs) for time in SHOWN_TIMES]
    return FluidTrajectory(name, path, np.array(distances))


def _fluid_checks(result: StudyResult) -> Iterator[TheoryCheck]:
    for start in result.starts:
        since = int(start.name == BOUNDARY)  # U is minus infinity at the boundary
        gaps = result.optimum.utility - log_utility(start.path.goodputs[since:])
        excess = gaps - utility_bound(start.path, result.optimum.utility, since)
        yield TheoryCheck(f"fluid, from {start.name}: gap above e^-t of the first", float(np.max(excess)), "<=", 1e-9)
        yield TheoryCheck(
            f"fluid, from {start.name}: distance to x* at t = {HORIZON:g}", float(start.distances[-1]), "<=", 0.02
        )
    yield from _hull_checks(result)
    yield _boundary_check(next(start.path for start in result.starts if start.name == BOUNDARY))


def _hull_checks(result: StudyResult) -> Iterator[TheoryCheck]:
    for start in result.starts:
        if start.name in (BELOW, ABOVE):
            first = hull_distance(result.problem, start.path.at(0.0))
            ratios = [hull_distance(result.problem, start.path.at(t)) / (math.exp(-t) * first) for t in HULL_TIMES]
            name = f"fluid, from {start.name}: distance to the reachable set, over e^-t of the first"
            yield TheoryCheck(name, float(np.max(ratios)), "<=", 1.001)


def _boundary_check(path: FluidPath) -> TheoryCheck:
    """Every client of B commits at least one token per round: d/dt sum_B x_i >= |B| (mu_low in the paper)."""
    is_zero = path.goodputs[0] == 0.0
    share = -math.expm1(-(path.times[1] - path.times[0]))
    speed = float(path.goodputs[1][is_zero].sum()) / share
    return TheoryCheck("fluid, from boundary: d/dt of the sum of x_B at 0", speed, ">=", float(is_zero.sum()))


def _convergence_checks(name: str, points: Sequence[SweepPoint], sweep: StepSizeSweep) -> Iterator[TheoryCheck]:
    far = [point.far_probability for point in points]
    window_far = [point.window_far_probability for point in points]
    noise = 3.0 * math.sqrt(0.5 / sweep.num_runs)  # three standard deviations of a difference of two shares
    for theorem, shares in (("theorem 1", far), ("theorem 4", window_far)):
        rise = float(np.max(np.diff(shares)))
        yield TheoryCheck(f"{theorem}, {name}: rise of Pr(far) as beta decreases", rise, "<=", noise)
        fall = shares[0] - shares[-1]
        yield TheoryCheck(f"{theorem}, {name}: fall of Pr(far) over the sweep", fall, ">=", noise)
    smallest = points[-1]
    if smallest.beta <= 0.02:
        yield TheoryCheck(f"theorem 1, {name}: Pr(far) at beta {smallest.beta:g}", far[-1], "<=", MAX_FAR_PROBABILITY)
        yield TheoryCheck(
            f"theorem 4, {name}: Pr(far) at beta {smallest.beta:g}", window_far[-1], "<=", MAX_FAR_PROBABILITY
        )


def _drift_experiments(plan: StudyPlan) -> Iterator[DriftExperiment]:
    rates = plan.problem.rates
    limits = DriftLimits(np.maximum(rates - DRIFT_WIDTH, 0.01), np.minimum(rates + DRIFT_WIDTH, 0.99), 0.0)
    for beta, speed, error in plan.drift_experiments:
        drift = replace(limits, speed=speed, error=error)
        num_rounds = round(plan.num_times / beta)
        yield DriftExperiment(drift, plan.problem.budget, beta, num_rounds, plan.num_paths, plan.runs_per_path)


def _tracking_checks(tracking: TrackingResult) -> Iterator[TheoryCheck]:
    name = f"drift {tracking.speed:g}, beta {tracking.beta:g}, error {tracking.error:g}"
    runs = float(tracking.num_runs)
    yield TheoryCheck(
        f"{name}: runs within their certificate in all rounds", float(tracking.num_runs_within), ">=", runs
    )
    yield TheoryCheck(f"{name}: rounds with a mean gap above its bounds", float(tracking.num_rounds_above), "<=", 0.0)
