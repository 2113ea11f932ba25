"""All of the theory's checks in one go, and whether each holds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from goodspeed.fluid.bound import Drift
from goodspeed.fluid.convergence import Spot, Sweep, estimated_acceptance, known_acceptance
from goodspeed.fluid.frank_wolfe import best_goodputs, hull_distance
from goodspeed.fluid.ode import FluidPath, fluid_path, utility_bound
from goodspeed.fluid.problem import REFERENCE, Floats, Problem, log_utility
from goodspeed.fluid.tracking import Chase, Tracking, chase
from goodspeed.fluid.update import Update, towards
from goodspeed.scheduling.optimum import Optimum

BELOW, WITHIN, ABOVE, BOUNDARY = "below", "within", "above", "boundary"
HORIZON = 8.0
SHOWN_TIMES = (0.0, 2.0, 4.0, 6.0, 8.0)
HULL_TIMES = (0.25, 0.5, 1.0, 2.0)
DRIFT_WIDTH = 0.05  # rates drift so far from the problem's
ENOUGH = 0.05  # a probability that has vanished, for the smallest beta


FULL_SWEEP = Sweep(num_runs=100)


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is simulated."""

    problem: Problem = REFERENCE
    step: float = 0.002  # of the fluid path
    sweep: Sweep = FULL_SWEEP
    known_betas: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
    estimated_betas: tuple[float, ...] = (0.5, 0.2, 0.1, 0.05, 0.02)
    chases: tuple[tuple[float, float, float], ...] = (
        (0.1, 1e-3, 0.0),
        (0.05, 5e-4, 0.0),
        (0.05, 5e-4, 0.01),
        (0.02, 2e-4, 0.0),
    )
    """(beta, drift a round, error of the estimates)."""
    num_paths: int = 100
    runs_per_path: int = 10
    num_times: int = 20
    """Rounds of a drifting run, in 1 / beta."""


QUICK = Plan(
    step=0.01,
    sweep=Sweep(num_runs=40),
    known_betas=(0.5, 0.1, 0.02),
    estimated_betas=(0.5, 0.05),
    chases=((0.05, 5e-4, 0.01),),
    num_paths=20,
    runs_per_path=5,
    num_times=8,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold."""

    name: str
    measured: float
    relation: str  # <= or >=
    limit: float

    @property
    def holds(self) -> bool:
        """NaN holds nowhere."""
        return self.measured <= self.limit if self.relation == "<=" else self.measured >= self.limit


@dataclass(frozen=True, slots=True)
class Start:
    """A fluid path from one point."""

    name: str
    path: FluidPath
    distances: Floats  # |x(t) - x*| at SHOWN_TIMES


@dataclass(slots=True)
class Study:
    """What was found."""

    problem: Problem
    optimum: Optimum
    starts: list[Start] = field(default_factory=list)
    known: list[Spot] = field(default_factory=list)
    estimated: list[Spot] = field(default_factory=list)
    tracking: list[Tracking] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return all(check.holds for check in self.checks)


def study(plan: Plan, rng: np.random.Generator, update: Update = towards) -> Study:
    """Check everything; `update` is the step under test."""
    found = Study(plan.problem, plan.problem.optimum())
    with np.errstate(all="ignore"):  # a wrong update diverges: its NaN break the checks
        found.checks.extend(_optimum_checks(found))
        found.starts = [_start(plan, found.optimum, *start, update) for start in _starting_points(found.optimum)]
        found.checks.extend(_fluid_checks(found))
        found.known = [known_acceptance(plan.problem, beta, plan.sweep, rng, update) for beta in plan.known_betas]
        found.estimated = [
            estimated_acceptance(plan.problem, beta, plan.sweep, rng, update) for beta in plan.estimated_betas
        ]
        found.checks.extend(_convergence_checks("known acceptance", found.known, plan.sweep))
        found.checks.extend(_convergence_checks("estimated acceptance", found.estimated, plan.sweep))
        found.tracking = [chase(setting, rng, update) for setting in _chases(plan)]
        found.checks.extend(check for tracking in found.tracking for check in _tracking_checks(tracking))
    return found


def _optimum_checks(found: Study) -> Iterator[Check]:
    other = best_goodputs(found.problem, 1e-7)
    yield Check("optimum: certified gap", found.optimum.gap, "<=", 1e-6)
    difference = float(np.abs(other.point - found.optimum.goodputs).max())
    yield Check("optimum: distance of Frank-Wolfe's x* from the price's", difference, "<=", 1e-3)


def _starting_points(optimum: Optimum) -> list[tuple[str, Floats]]:
    num = len(optimum.goodputs)
    boundary = optimum.goodputs.copy()
    boundary[: (num + 1) // 2] = 0.0
    return [(BELOW, np.full(num, 0.2)), (WITHIN, np.ones(num)), (ABOVE, np.full(num, 6.0)), (BOUNDARY, boundary)]


def _start(plan: Plan, optimum: Optimum, name: str, point: Floats, update: Update) -> Start:
    path = fluid_path(plan.problem, point, HORIZON, plan.step, update)
    distances = [np.linalg.norm(path.at(time) - optimum.goodputs) for time in SHOWN_TIMES]
    return Start(name, path, np.array(distances))


def _fluid_checks(found: Study) -> Iterator[Check]:
    for start in found.starts:
        since = int(start.name == BOUNDARY)  # at the boundary U is minus infinity
        gaps = found.optimum.utility - log_utility(start.path.goodputs[since:])
        excess = gaps - utility_bound(start.path, found.optimum.utility, since)
        yield Check(f"fluid, from {start.name}: gap above e^-t of the first", float(np.max(excess)), "<=", 1e-9)
        yield Check(
            f"fluid, from {start.name}: distance to x* at t = {HORIZON:g}", float(start.distances[-1]), "<=", 0.02
        )
    yield from _hull_checks(found)
    yield _boundary_check(next(start.path for start in found.starts if start.name == BOUNDARY))


def _hull_checks(found: Study) -> Iterator[Check]:
    for start in found.starts:
        if start.name in (BELOW, ABOVE):
            first = hull_distance(found.problem, start.path.at(0.0))
            ratios = [hull_distance(found.problem, start.path.at(t)) / (math.exp(-t) * first) for t in HULL_TIMES]
            name = f"fluid, from {start.name}: distance to the reachable set, over e^-t of the first"
            yield Check(name, float(np.max(ratios)), "<=", 1.001)


def _boundary_check(path: FluidPath) -> Check:
    """Every client of B commits at least the target's own token: d/dt sum_B x_i >= |B| (the paper's mu_low)."""
    is_zero = path.goodputs[0] == 0.0
    share = -math.expm1(-(path.times[1] - path.times[0]))
    speed = float(path.goodputs[1][is_zero].sum()) / share
    return Check("fluid, from boundary: d/dt of the sum of x_B at 0", speed, ">=", float(is_zero.sum()))


def _convergence_checks(name: str, spots: Sequence[Spot], sweep: Sweep) -> Iterator[Check]:
    far = [spot.far_probability for spot in spots]
    window_far = [spot.window_far_probability for spot in spots]
    noise = 3.0 * math.sqrt(0.5 / sweep.num_runs)  # three deviations of a difference of two shares
    for theorem, shares in (("theorem 1", far), ("theorem 4", window_far)):
        rise = float(np.max(np.diff(shares)))
        yield Check(f"{theorem}, {name}: rise of Pr(far) as beta shrinks", rise, "<=", noise)
        fall = shares[0] - shares[-1]
        yield Check(f"{theorem}, {name}: fall of Pr(far) over the sweep", fall, ">=", noise)
    smallest = spots[-1]
    if smallest.beta <= 0.02:
        yield Check(f"theorem 1, {name}: Pr(far) at beta {smallest.beta:g}", far[-1], "<=", ENOUGH)
        yield Check(f"theorem 4, {name}: Pr(far) at beta {smallest.beta:g}", window_far[-1], "<=", ENOUGH)


def _chases(plan: Plan) -> Iterator[Chase]:
    rates = plan.problem.rates
    limits = Drift(np.maximum(rates - DRIFT_WIDTH, 0.01), np.minimum(rates + DRIFT_WIDTH, 0.99), 0.0)
    for beta, speed, error in plan.chases:
        drift = replace(limits, speed=speed, error=error)
        num_rounds = round(plan.num_times / beta)
        yield Chase(drift, plan.problem.budget, beta, num_rounds, plan.num_paths, plan.runs_per_path)


def _tracking_checks(tracking: Tracking) -> Iterator[Check]:
    name = f"drift {tracking.speed:g}, beta {tracking.beta:g}, error {tracking.error:g}"
    runs = float(tracking.num_runs)
    yield Check(f"{name}: runs within their certificate in all rounds", float(tracking.num_holding), ">=", runs)
    yield Check(f"{name}: rounds with a mean gap above its bounds", float(tracking.num_rounds_above), "<=", 0.0)
