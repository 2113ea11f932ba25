"""Tables as files: columns of equal length, as CSV and, with pyarrow, as Parquet."""

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from goodspeed.experiment.grid import GridCell, display_value
from goodspeed.experiment.metrics import METRICS
from goodspeed.experiment.replication import Replication
from goodspeed.experiment.sweep import MetricsByCell
from goodspeed.extras import missing_extra
from goodspeed.simulator.result import AnswerRecord

Columns = Mapping[str, Sequence[Any]]
WITHOUT_PARQUET = "no Parquet file was written: " + missing_extra("it", "simulator", "pyarrow is not installed")


def answer_columns(replications: Sequence[Replication]) -> Columns:
    """One row per answer: the seed, whether the answer counts (finished after the warm-up), and its record."""
    answers = [answer for replication in replications for answer in replication.run.answers]
    return {
        "seed": [replication.run.seed for replication in replications for _ in replication.run.answers],
        "is_counted": [
            answer.finished_s > replication.metrics.warm_up.cut_s
            for replication in replications
            for answer in replication.run.answers
        ],
        **{field.name: list(map(attrgetter(field.name), answers)) for field in fields(AnswerRecord)},
    }


def cell_columns(cells: Sequence[GridCell], metrics_by_cell: MetricsByCell) -> Columns:
    """One row per cell and seed: the cell's settings, the warm-up, and all metrics; undefined ones are None."""
    rows = [(cell, metrics) for cell in cells for metrics in metrics_by_cell[cell].values()]
    paths = [path for path, _ in cells[0].settings]
    return {
        "cell": [cells.index(cell) for cell, _ in rows],
        **{path: _with_one_type([cell.settings[i][1] for cell, _ in rows]) for i, path in enumerate(paths)},
        "seed": [metrics.seed for _, metrics in rows],
        "warm_up_s": [metrics.warm_up.cut_s for _, metrics in rows],
        "warm_up_source": [str(metrics.warm_up.source) for _, metrics in rows],
        "num_answers": [metrics.num_answers for _, metrics in rows],
        **{name: [metrics.values.get(name) for _, metrics in rows] for name in METRICS},
    }


def write_columns(columns: Columns, path: Path) -> list[str]:
    """Write PATH.csv and PATH.parquet. Returns messages about files that could not be written."""
    with path.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    if importlib.util.find_spec("pyarrow") is None:
        return [WITHOUT_PARQUET]
    parquet = importlib.import_module("pyarrow.parquet")
    table = importlib.import_module("pyarrow").table(dict(columns))
    parquet.write_table(table, path.with_suffix(".parquet"))
    return []


def _with_one_type(values: Sequence[Any]) -> Sequence[Any]:
    """The values unchanged, or all as text if their types differ: a Parquet column has one type."""
    types = {type(value) for value in values}
    return (
        values if len(types) == 1 and types <= {bool, int, float, str} else [display_value(value) for value in values]
    )
