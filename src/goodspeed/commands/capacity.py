"""`goodspeed capacity`: how many clients a scenario's verifiers serve within an SLO, by arms."""

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
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from goodspeed.bench.comparison_table import wide_console
from goodspeed.cluster.machine import this_machine
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.commands.grid_flags import add_grid, axes_of
from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.experiment.arm import measure, name_of, scenario_values
from goodspeed.experiment.capacity import CapacityOutcome, CapacityPlan, Probes, find_capacities
from goodspeed.experiment.capacity_report import HEADERS, capacity_report, capacity_rows, remarks
from goodspeed.experiment.capacity_summary import ArmCapacity, summarise_capacity
from goodspeed.experiment.cell_folder import SCHEMA, CellFolder, SweepManifest
from goodspeed.experiment.columns import write_columns
from goodspeed.experiment.executor import local_executor
from goodspeed.experiment.grid import Axis, GridCell, cells
from goodspeed.experiment.replication import Seeds
from goodspeed.experiment.run_report import ReportHeader
from goodspeed.experiment.served_run import ServedRun
from goodspeed.experiment.slo import Slo
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.records.json_values import to_json_value
from goodspeed.simulator.scenario import scenario_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

WARM_UP_SHARE = 0.25


@config_dataclass
class CapacityConfig:
    """The SLO, the searches and the outputs of a capacity search."""

    slo: str = option(
        "",
        "latencies and their limits, such as tpot=50ms,ttft=1s, which a good answer keeps; tpot_p95=50ms is kept by "
        "95% of all answers instead; latencies: ttft, tpot, latency",
        is_required=True,
    )
    share: str = option("", "share of all answers that has to be good, such as 95%; empty: 99%")
    seeds: int = option(3, "searches of every arm, with the same seeds", ge=1)
    first_seed: int = option(0, "seed of the first search; the others follow", ge=0)
    until_s: float = option(0.0, "simulated seconds; 0: the scenario's own", ge=0.0)
    warm_up_s: float = option(0.0, "start of every run that is left out; 0: a quarter of it", ge=0.0)
    max_clients: int = option(4096, "highest number of clients that is tried", ge=1)
    resolution: float = option(
        0.05, "relative distance of the numbers of clients that are tried; 0.05: 5%", ge=0.005, le=1.0
    )
    jobs: int = option(0, "simulations at a time; 0: one per core", ge=0)
    output: str = option("", "folder of the search; empty: results/capacity-SCENARIO")
    resume: bool = option(
        False, "continue the search in the folder, also with another SLO: finished simulations are not repeated"
    )


@dataclass(frozen=True, slots=True)
class CapacityRequest:
    """A validated search."""

    header: ReportHeader
    plan: CapacityPlan
    warm_up: WarmUp
    folder: CellFolder[ServedRun]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `capacity`."""
    parser = subparsers.add_parser(
        "capacity",
        description="Search the largest number of clients that a scenario's verifiers serve within an SLO, in the mix "
        "of its drafter tiers, for every combination of the values that --set gives to keys, with the same seeds. "
        "Says what limits the number, and what its clients get beside those of the first combination "
        "(docs/guide/capacity.md).",
        epilog="example: goodspeed capacity configs/scenarios/home_lab.toml --slo tpot=50ms,ttft=1s "
        "--set mode=target_only,co_located,distributed",
    )
    add_grid(parser)
    add_flags(parser, CapacityConfig, first=("slo", "share", "seeds", "output"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(CapacityConfig, args)
    request = _request(config, args.scenario, axes_of(args))
    manifest = SweepManifest(SCHEMA, dict(request.header.settings), f"{request.warm_up.cut_s:g}")
    request.folder.open(manifest, config.resume)
    outcome = _search(request, config.jobs)
    arms = summarise_capacity(outcome, {arm: arm.name for arm in request.plan.arms})
    for problem in _write(request, outcome, arms):
        print(f"goodspeed: {problem}", file=sys.stderr)
    if args.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(_plain(request, arms))) + b"\n")
    else:
        _show(request, arms)
    return 0


def _request(config: CapacityConfig, path: Path, axes: tuple[Axis, ...]) -> CapacityRequest:
    """Validates every arm before the first simulation."""
    if counts := [axis.path for axis in axes if axis.path.startswith("drafters.") and axis.path.endswith(".count")]:
        raise ConfigError(
            f"set is {counts[0]}=..., expected another key; the search sets the numbers of clients, in the "
            "mix of the file, and --max-clients is the highest number"
        )
    slo = Slo.parse(config.slo, config.share)
    values = scenario_values(path, config.until_s)
    arms = {arm: scenario_of(arm.applied_to(values)) for arm in cells(axes)}
    shortest_s = min(scenario.duration_s for scenario in arms.values())
    cut_s = config.warm_up_s or WARM_UP_SHARE * shortest_s
    if cut_s >= shortest_s:
        raise ConfigError(f"warm_up_s is {cut_s:g}, expected less than the {shortest_s:g} simulated seconds")
    seeds = Seeds(config.first_seed, config.seeds).batch(0)
    return CapacityRequest(
        header=ReportHeader(name_of(values, path), f"goodspeed {shlex.join(sys.argv[1:])}", values),
        plan=CapacityPlan(arms, seeds, slo, config.max_clients, config.resolution),
        warm_up=WarmUp(cut_s, WarmUpSource.GIVEN),
        folder=CellFolder(Path(config.output or f"results/capacity-{path.stem}"), ServedRun, "capacity search"),
    )


def _search(request: CapacityRequest, num_jobs: int) -> CapacityOutcome:
    columns = SpinnerColumn(), TextColumn("{task.completed} simulations"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("searching", total=None)
        advance = partial(progress.advance, bar)
        try:
            with local_executor(num_jobs) as executor:
                probes = Probes(request.plan.arms, measure(), request.folder, request.warm_up, executor, advance)
                return find_capacities(request.plan, probes)
        except KeyboardInterrupt:
            num_done = int(progress.tasks[bar].completed)
            print(f"goodspeed: {num_done} simulations are done; --resume continues", file=sys.stderr)
            raise


def _write(request: CapacityRequest, outcome: CapacityOutcome, arms: Sequence[ArmCapacity]) -> list[str]:
    folder = request.folder.path
    problems = write_columns(_columns(outcome, list(request.plan.arms)), folder / "capacity")
    summary = msgspec.json.format(msgspec.json.encode(_plain(request, arms)), indent=1)
    (folder / "summary.json").write_bytes(summary + b"\n")
    report = capacity_report(request.header, request.plan.slo, arms)
    (folder / "report.html").write_text(report, encoding="utf-8")
    return problems


def _columns(outcome: CapacityOutcome, arms: Sequence[GridCell]) -> dict[str, list[Any]]:
    """One row per simulation."""
    rows = sorted(outcome.runs, key=lambda probe: (arms.index(probe.arm), probe.num_clients, probe.seed))
    found = [outcome.attainment(probe) for probe in rows]
    return {
        "arm": [probe.arm.name for probe in rows],
        "clients": [probe.num_clients for probe in rows],
        "seed": [probe.seed for probe in rows],
        "num_answers": [outcome.runs[probe].metrics.num_answers for probe in rows],
        "is_attained": [one.is_attained for one in found],
        "good_share": [one.good_share for one in found],
        "failed_share": [one.failed_share for one in found],
        **{
            name: [one.kept_shares[name] for one in found]
            for name in (objective.name for objective in outcome.plan.slo.objectives)
        },
        **{
            name: [outcome.runs[probe].metrics.values.get(name) for probe in rows]
            for name in ("goodput", "ttft_p99_s", "tpot_p99_s", "utilisation", "tokens_per_step", "acceptance_rate")
        },
        "peak_memory": [outcome.runs[probe].peak_memory for probe in rows],
    }


def _plain(request: CapacityRequest, arms: Sequence[ArmCapacity]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": request.header.command,
        "machine": to_json_value(this_machine()),
        "scenario": to_json_value(request.header.settings),
        "slo": request.plan.slo.name,
        "warm_up_s": request.warm_up.cut_s,
        "arms": to_json_value(arms),
    }


def _show(request: CapacityRequest, arms: Sequence[ArmCapacity]) -> None:
    console = wide_console()
    table = Table(title=f"{request.header.name}: clients within {request.plan.slo.name}")
    for i, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if i else "left")
    for row in capacity_rows(arms):
        table.add_row(*row)
    console.print(table)
    for remark in remarks(arms):
        console.print(remark, highlight=False)
    console.print(f"{request.folder.path / 'report.html'}", highlight=False)
