"""`goodspeed fluid`: numerical checks of the theory."""

import argparse
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from goodspeed.cluster.machine import this_machine
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra
from goodspeed.fluid.convergence import SweepPoint
from goodspeed.fluid.study import QUICK, SHOWN_TIMES, StudyPlan, StudyResult, TheoryCheck, run_study
from goodspeed.fluid.tracking import TrackingResult
from goodspeed.fluid.update import Update, ewma_update
from goodspeed.records.json_values import to_json_value

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCHEMA = 2
WIDTH = 120
PLOTS = (".svg", ".png", ".pdf")


@config_dataclass
class FluidConfig:
    """Size and outputs of the numerical checks."""

    quick: bool = option(False, "use few runs and few step sizes: seconds instead of a minute")
    seed: int = option(0, "seed of the random runs", ge=0)
    json: str = option("", "file for all results; -: standard output")
    plot: str = option("", f"file for the plot ({', '.join(PLOTS)}); needs goodspeed[plots]")

    def __post_init__(self) -> None:
        if self.plot and Path(self.plot).suffix not in PLOTS:
            raise ConfigError(f"plot is {self.plot!r}, expected a file that ends in {', '.join(PLOTS)}")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `fluid`."""
    parser = subparsers.add_parser(
        "fluid",
        description="Solve the long-run problem, integrate the fluid limit, run the recursion with decreasing step "
        "sizes, and compare runs with drifting acceptance with the derived bounds (docs/explain/theory.md). Exit "
        "code 1 if a bound is broken.",
        epilog="example: goodspeed fluid --plot fluid.svg --json fluid.json",
    )
    add_flags(parser, FluidConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    return run(from_args(FluidConfig, args))


def run(config: FluidConfig, update: Update = ewma_update) -> int:
    """Run the checks, write and print the results. Returns the exit code. `update` is the step of the recursion."""
    console = Console(stderr=config.json == "-")
    wide = console if console.is_terminal else Console(stderr=config.json == "-", width=WIDTH)
    plot_study = _plotter() if config.plot else None
    start_s = time.perf_counter()
    with Console(stderr=True).status("checking"):
        result = run_study(QUICK if config.quick else StudyPlan(), np.random.default_rng(config.seed), update)
    took_s = time.perf_counter() - start_s
    if config.json:
        _write_json(result, config.json, took_s)
    if plot_study:
        plot_study(result, Path(config.plot))
    for table in (_optimum_table(result), _fluid_table(result), _sweep_table(result), _tracking_table(result)):
        wide.print(table)
    wide.print(_checks_table(result.checks))
    num_broken = sum(not check.holds for check in result.checks)
    wide.print(f"{len(result.checks) - num_broken} of {len(result.checks)} checks hold; {took_s:.1f} s.")
    return 1 if num_broken else 0


def _plotter() -> Callable[[StudyResult, Path], None]:
    """Raises ConfigError if matplotlib is missing, before anything is computed."""
    try:
        plotter: Callable[[StudyResult, Path], None] = importlib.import_module("goodspeed.fluid.plot").plot_study
    except ImportError as error:
        raise ConfigError(missing_extra("a plot", "plots", error)) from error
    return plotter


def _write_json(result: StudyResult, file: str, took_s: float) -> None:
    report = {
        "schema": SCHEMA,
        "command": sys.argv,
        "machine": to_json_value(this_machine()),
        "took_s": took_s,
        "problem": to_json_value(result.problem),
        "optimum": to_json_value(result.optimum),
        "fluid": [
            {"start": start.name, "times": SHOWN_TIMES, "distances": start.distances.tolist()}
            for start in result.starts
        ],
        "known_acceptance": to_json_value(result.known),
        "estimated_acceptance": to_json_value(result.estimated),
        "tracking": to_json_value(result.tracking),
        "checks": [{**to_json_value(check), "holds": bool(check.holds)} for check in result.checks],
    }
    text = msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n"
    if file == "-":
        sys.stdout.buffer.write(text)
        return
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_bytes(text)


def _optimum_table(result: StudyResult) -> Table:
    best = result.optimum
    table = Table("client", title=f"Optimum: U* = {best.utility:.4f}, certified gap {best.gap:.1e}")
    for rate in result.problem.acceptance_rates:
        table.add_column(f"a = {rate:g}", justify="right")
    table.add_row("x*, tokens per round", *(f"{goodput:.3f}" for goodput in best.goodputs))
    table.add_row("mean grant", *(f"{grant:.3f}" for grant in best.grants))
    return table


def _fluid_table(result: StudyResult) -> Table:
    table = Table("|x(t) - x*| from", *(f"t = {time:g}" for time in SHOWN_TIMES), title="Fluid path")
    for start in result.starts:
        table.add_row(start.name, *(f"{distance:.4f}" for distance in start.distances))
    return table


def _sweep_table(result: StudyResult) -> Table:
    columns = ("acceptance", "beta", "eta", "Pr(X far)", "Pr(window far)", "mean |X - x*|", "U(window's mean)")
    table = Table(*columns, title="Theorems 1 and 4: decreasing step sizes")
    for name, points in (("known", result.known), ("estimated", result.estimated)):
        for point in points:
            table.add_row(name, *_sweep_row(point))
    return table


def _sweep_row(point: SweepPoint) -> list[str]:
    eta = "-" if point.eta is None else f"{point.eta:.4f}"
    chances = (f"{point.far_probability:.3f}", f"{point.window_far_probability:.3f}")
    return [f"{point.beta:g}", eta, *chances, f"{point.mean_distance:.3f}", f"{point.window_utility:.3f}"]


def _tracking_table(result: StudyResult) -> Table:
    columns = ("beta", "drift", "error", "runs", "largest gap", "certificate", "mean gap", "certificate", "in advance")
    caption = (
        "Gaps U*(t) - U(X(t)) after the warm-up: the largest of any run with the mean certificate of a run; the "
        "largest mean over runs with its certificate and with the bound that is known in advance."
    )
    table = Table(*columns, title="Drift: gaps and their bounds", caption=caption, caption_justify="left")
    for tracking in result.tracking:
        table.add_row(*_tracking_row(tracking))
    return table


def _tracking_row(one: TrackingResult) -> list[str]:
    setting = [f"{one.beta:g}", f"{one.speed:g}", f"{one.error:g}", f"{one.num_runs_within} of {one.num_runs} within"]
    values = (one.max_gap, one.mean_certificate, one.max_mean_gap, one.max_mean_bound, one.mean_limit)
    return [*setting, *(f"{value:.3f}" for value in values)]


def _checks_table(checks: Sequence[TheoryCheck]) -> Table:
    table = Table("check", "measured", "", "limit", "", title="Checks")
    for check in checks:
        verdict = "[green]holds[/green]" if check.holds else "[red]BROKEN[/red]"
        table.add_row(check.name, f"{check.measured:.4g}", check.relation, f"{check.limit:.4g}", verdict)
    return table
