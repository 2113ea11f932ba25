"""Runs a comparison and shows its table."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from goodspeed.awc.comparison import Comparison
from goodspeed.awc.evaluation import EvaluatedArm, ScenarioOutcome
from goodspeed.awc.outcome_table import HEADERS, rows, summarise
from goodspeed.bench.comparison_table import wide_console
from goodspeed.cluster.machine import this_machine
from goodspeed.experiment.executor import executor_of
from goodspeed.records.json_values import to_json_value

SCHEMA = 1


def run_and_show(comparison: Comparison, arms: Sequence[EvaluatedArm], num_jobs: int, args: argparse.Namespace) -> None:
    """Run it, and print a table or, with --json, all outcomes."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("simulating", total=comparison.num_tasks)
        with executor_of(num_jobs, args.ray) as executor:
            outcomes = comparison.run(arms, executor, lambda: progress.advance(bar))
    if args.json:
        content = _plain(comparison, outcomes)
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(content)) + b"\n")
    else:
        wide_console().print(_table(comparison, outcomes))


def _plain(comparison: Comparison, outcomes: Sequence[ScenarioOutcome]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": f"goodspeed {' '.join(sys.argv[1:])}",
        "machine": to_json_value(this_machine()),
        "best_static": comparison.best_static,
        "summaries": to_json_value(summarise(outcomes)),
        "outcomes": to_json_value(outcomes),
    }


def _table(comparison: Comparison, outcomes: Sequence[ScenarioOutcome]) -> Table:
    table = Table(title=f"{comparison.num_tasks} runs of each arm; best static: {comparison.best_static}")
    for place, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if place else "left")
    for row in rows(summarise(outcomes)):
        table.add_row(*row)
    return table
