"""`goodspeed sweep`: a grid of scenarios and seeds, on all cores or a Ray cluster."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from goodspeed.bench.comparison_table import wide_console
from goodspeed.cluster.machine import this_machine
from goodspeed.commands.flags import add_flags, add_ray_flag, from_args
from goodspeed.commands.grid_flags import add_grid, axes_of
from goodspeed.config import config_dataclass, option
from goodspeed.experiment.arm import measure, name_of, scenario_values
from goodspeed.experiment.cell_folder import SCHEMA, CellFolder, SweepManifest
from goodspeed.experiment.columns import cell_columns, write_columns
from goodspeed.experiment.executor import executor_of
from goodspeed.experiment.grid import Axis, GridCell, cells
from goodspeed.experiment.metrics import RunMetrics
from goodspeed.experiment.replication import Seeds
from goodspeed.experiment.run_report import ReportHeader
from goodspeed.experiment.sweep import CellResult, MetricsByCell, ScenarioSweep, SweepTask, cell_results
from goodspeed.experiment.sweep_report import sweep_report
from goodspeed.experiment.tables import cell_rows, difference_rows, headers
from goodspeed.experiment.warm_up import WarmUp, given_warm_up
from goodspeed.records.json_values import to_json_value
from goodspeed.simulator.scenario import Scenario, scenario_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@config_dataclass
class SweepConfig:
    """Replications, length and outputs of a sweep."""

    seeds: int = option(5, "replications of every cell, with the same seeds", ge=1)
    first_seed: int = option(0, "seed of the first replication; the others follow", ge=0)
    until_s: float = option(0.0, "simulated seconds; 0: the scenario's own", ge=0.0)
    warm_up: str = option(
        "mser-5",
        "start of the run that is left out, in simulated seconds; mser-5: estimated from a pilot run of each cell",
    )
    jobs: int = option(0, "replications at a time; 0: one per core", ge=0)
    output: str = option("", "folder of the sweep; empty: results/sweep-SCENARIO")
    resume: bool = option(False, "continue the sweep in the folder: finished runs are not repeated")

    def __post_init__(self) -> None:
        given_warm_up(self.warm_up)


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """A validated sweep."""

    header: ReportHeader
    axes: tuple[Axis, ...]
    cells: tuple[GridCell, ...]
    tasks: tuple[SweepTask[Scenario], ...]
    folder: CellFolder[RunMetrics]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `sweep`."""
    parser = subparsers.add_parser(
        "sweep",
        description="Simulate a scenario with every combination of the values that --set gives to its keys, with the "
        "same seeds, and compare the cells with the first one by paired differences (docs/guide/simulate.md).",
        epilog="example: goodspeed sweep configs/scenarios/home_lab.toml "
        "--set verifiers.0.core.scheduler=fixed,gradient drafters.*.link.rtt_ms=5,20 --seeds 10",
    )
    add_grid(parser)
    add_flags(parser, SweepConfig)
    add_ray_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(SweepConfig, args)
    plan = _plan(config, args.scenario, axes_of(args))
    plan.folder.open(SweepManifest(SCHEMA, dict(plan.header.settings), config.warm_up), config.resume)
    metrics_by_cell = _sweep(plan, given_warm_up(config.warm_up), config.jobs, args.ray)
    results = cell_results(plan.cells, metrics_by_cell)
    for problem in _write(plan, metrics_by_cell, results):
        print(f"goodspeed: {problem}", file=sys.stderr)
    if args.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(_plain(plan, results))) + b"\n")
    else:
        _show(plan, results)
    return 0


def _plan(config: SweepConfig, path: Path, axes: tuple[Axis, ...]) -> SweepPlan:
    """Validates every cell before the first one runs."""
    values = scenario_values(path, config.until_s)
    grid = tuple(cells(axes))
    scenarios = {cell: scenario_of(cell.applied_to(values)) for cell in grid}
    seeds = Seeds(config.first_seed, config.seeds).batch(0)
    return SweepPlan(
        header=ReportHeader(name_of(values, path), f"goodspeed {shlex.join(sys.argv[1:])}", values),
        axes=axes,
        cells=grid,
        tasks=tuple(SweepTask(cell, scenarios[cell], seed) for seed in seeds for cell in grid),
        folder=CellFolder(Path(config.output or f"results/sweep-{path.stem}"), RunMetrics),
    )


def _sweep(plan: SweepPlan, given: WarmUp | None, num_jobs: int, ray_address: str | None) -> MetricsByCell:
    sweep = ScenarioSweep(measure(), plan.tasks, plan.folder, given)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("simulating", total=sweep.num_runs)
        try:
            with executor_of(num_jobs, ray_address) as executor:
                return sweep.run(executor, partial(progress.advance, bar))
        except KeyboardInterrupt:
            num_done = int(progress.tasks[bar].completed)
            print(f"goodspeed: {num_done} of {sweep.num_runs} are done; --resume continues", file=sys.stderr)
            raise


def _write(plan: SweepPlan, metrics_by_cell: MetricsByCell, results: Sequence[CellResult]) -> list[str]:
    folder = plan.folder.path
    problems = write_columns(cell_columns(plan.cells, metrics_by_cell), folder / "sweep")
    summary = msgspec.json.format(msgspec.json.encode(_plain(plan, results)), indent=1)
    (folder / "summary.json").write_bytes(summary + b"\n")
    report = sweep_report(plan.header, plan.axes, plan.cells, results)
    (folder / "report.html").write_text(report, encoding="utf-8")
    return problems


def _plain(plan: SweepPlan, results: Sequence[CellResult]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": plan.header.command,
        "machine": to_json_value(this_machine()),
        "scenario": to_json_value(plan.header.settings),
        "cells": to_json_value(results),
    }


def _show(plan: SweepPlan, results: Sequence[CellResult]) -> None:
    console = wide_console()
    names = [cell.name for cell in plan.cells]
    console.print(_table(cell_rows(names, results), plan.header.name))
    if len(names) > 1:
        title = f"differences from {names[0]}, paired by seed; *: the 95% interval excludes 0"
        console.print(_table(difference_rows(names, results), title))
    console.print(f"{plan.folder.path / 'report.html'}", highlight=False)


def _table(rows: Sequence[Sequence[str]], title: str) -> Table:
    """One row per cell."""
    table = Table(title=title)
    for i, header in enumerate(headers()):
        table.add_column(header, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    return table
