"""`goodspeed simulate`: replications of a scenario, with confidence intervals."""

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from goodspeed.bench.comparison_table import wide_console
from goodspeed.cluster.machine import this_machine
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.experiment.arm import measure, name_of, scenario_values
from goodspeed.experiment.columns import answer_columns, write_columns
from goodspeed.experiment.executor import local_executor
from goodspeed.experiment.replication import Replication, Seeds, replicate
from goodspeed.experiment.run_report import ReportHeader, run_report
from goodspeed.experiment.story import story
from goodspeed.experiment.summary import Precision, Summary, summarise
from goodspeed.experiment.tables import goodput_rows, metric_rows, replication_rows
from goodspeed.experiment.timeline import write_timeline
from goodspeed.experiment.warm_up import WarmUp, given_warm_up
from goodspeed.records.json_values import to_json_value
from goodspeed.simulator.scenario import Scenario, scenario_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCHEMA = 2
MOST_CLIENTS = 16
"""Maximum number of clients that the terminal shows one by one."""


@config_dataclass
class SimulateConfig:
    """Replications, length and outputs of a simulation."""

    seeds: int = option(5, "replications, which differ only in their seed", ge=1)
    first_seed: int = option(0, "seed of the first replication; the others follow", ge=0)
    until_s: float = option(0.0, "simulated seconds; 0: the scenario's own", ge=0.0)
    warm_up: str = option(
        "mser-5", "start of the run that is left out, in simulated seconds; mser-5: estimated from a pilot run"
    )
    precision: str = option(
        "", "METRIC=X%: replicate until the interval of the metric is within X% of its mean, such as goodput=2%"
    )
    max_seeds: int = option(100, "maximum number of replications with a precision", ge=1)
    jobs: int = option(0, "replications at a time; 0: one per core", ge=0)
    output: str = option("", "folder for answers (CSV, Parquet), summary.json, report.html and trace.json")
    trace: int = option(0, "requests of the first replication whose spans are written, for ui.perfetto.dev", ge=0)

    def __post_init__(self) -> None:
        given_warm_up(self.warm_up)
        if self.precision and self.max_seeds < self.seeds:
            raise ConfigError(f"max_seeds is {self.max_seeds}, expected at least the {self.seeds} of seeds")
        if self.trace and not self.output:
            raise ConfigError("trace is given without output, expected a folder for trace.json")


@dataclass(frozen=True, slots=True)
class SimulationOutcome:
    """The results of the command."""

    header: ReportHeader
    summary: Summary
    replications: Sequence[Replication]  # by seed
    is_precise: bool
    took_s: float

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema": SCHEMA,
            "command": self.header.command,
            "machine": to_json_value(this_machine()),
            "took_s": self.took_s,
            "scenario": to_json_value(self.header.settings),
            "is_precise": self.is_precise,
            "metrics": to_json_value(self.summary.metrics),
            "goodputs": to_json_value(self.summary.goodputs),
            "replications": [to_json_value(one.metrics) for one in self.replications],
        }


def add_parser(subparsers: "Subparsers") -> None:
    """Add `simulate`."""
    parser = subparsers.add_parser(
        "simulate",
        description="Simulate replications of drafters, links and verifiers, with the decision code of the live "
        "servers, and report metrics with 95% confidence intervals (docs/guide/simulate.md). Exit code 1 if a "
        "requested precision is not reached.",
        epilog="example: goodspeed simulate configs/scenarios/home_lab.toml --seeds 10 --output results/home_lab",
    )
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml", help="scenario file")
    add_flags(parser, SimulateConfig, first=("seeds", "until_s", "output"))
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(SimulateConfig, args)
    outcome = _simulate(config, args.scenario)
    if config.output:
        for problem in write_outcome(outcome, Path(config.output)):
            print(f"goodspeed: {problem}", file=sys.stderr)
    if args.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(outcome.plain())) + b"\n")
    else:
        _show(outcome)
    return 0 if outcome.is_precise else 1


def _simulate(config: SimulateConfig, path: Path) -> SimulationOutcome:
    values = scenario_values(path, config.until_s)
    scenario = scenario_of(values)
    precision = Precision.parse(config.precision) if config.precision else None
    seeds = Seeds(config.first_seed, config.seeds, config.max_seeds)
    start_s = time.perf_counter()
    with local_executor(config.jobs) as executor:
        start = given_warm_up(config.warm_up) or _pilot(scenario)
        make = partial(measure(config.trace).replication, scenario, start)
        running = replicate(make, seeds, precision, executor)
        total = None if precision else config.seeds
        console = Console(stderr=True)
        replications = list(track(running, "simulating", total, console=console, transient=True))
    replications.sort(key=lambda replication: replication.run.seed)
    metrics = [replication.metrics for replication in replications]
    return SimulationOutcome(
        header=ReportHeader(name_of(values, path), f"goodspeed {shlex.join(sys.argv[1:])}", values),
        summary=summarise(metrics),
        replications=replications,
        is_precise=precision is None or precision.is_reached(metrics),
        took_s=time.perf_counter() - start_s,
    )


def _pilot(scenario: Scenario) -> WarmUp:
    with Console(stderr=True).status("running a pilot to find the warm-up"):
        return measure().pilot(scenario).metrics.warm_up


def write_outcome(outcome: SimulationOutcome, folder: Path) -> list[str]:
    """Write all files. Returns a message for each one that could not be written."""
    folder.mkdir(parents=True, exist_ok=True)
    problems = write_columns(answer_columns(outcome.replications), folder / "answers")
    (folder / "summary.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome.plain()), indent=1) + b"\n")
    report = run_report(outcome.header, outcome.summary, outcome.replications)
    (folder / "report.html").write_text(report, encoding="utf-8")
    if spans := outcome.replications[0].run.spans:
        write_timeline(spans, folder / "trace.json")
    return problems


def _show(outcome: SimulationOutcome) -> None:
    console = wide_console()
    summary, metrics = outcome.summary, [replication.metrics for replication in outcome.replications]
    title = f"{outcome.header.name}: {summary.num_replications} replications, {outcome.took_s:.1f} s"
    for sentence in story(summary, outcome.replications):
        console.print(sentence, highlight=False)
    console.print(_table(["metric", "unit", "mean", "95%"], metric_rows(summary), title))
    if len(summary.goodputs) <= MOST_CLIENTS:
        console.print(_table(["client", "goodput, tokens/s", "95%"], goodput_rows(summary.goodputs)))
    headers = ["seed", "warm-up, s", "found by", "answers", "goodput, tokens/s"]
    console.print(_table(headers, replication_rows(metrics)))
    if not outcome.is_precise:
        console.print(
            "[red]The requested precision is not reached:[/red] increase --max-seeds or the length of the runs."
        )


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]], title: str | None = None) -> Table:
    table = Table(title=title)
    for i, header in enumerate(headers):
        table.add_column(header, justify="right" if i else "left")
    for row in rows:
        table.add_row(*row)
    return table
