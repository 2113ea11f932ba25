"""Tables as files."""

import csv
import importlib.util
from pathlib import Path

import pytest
from pyarrow import parquet

from goodspeed.experiment.columns import answer_columns, cell_columns, write_columns
from goodspeed.experiment.grid import Axis, cells
from goodspeed.experiment.metrics import METRICS
from goodspeed.experiment.replication import Measure
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource
from goodspeed.testing.single_server import SingleServerQueue, clients, simulate

FROM_50_S = WarmUp(50.0, WarmUpSource.GIVEN)
MEASURE = Measure(simulate, clients)
REPLICATIONS = [MEASURE.replication(SingleServerQueue(0.5, 200.0), FROM_50_S, seed) for seed in (0, 1)]


def test_every_answer_is_a_row_in_both_files(tmp_path: Path) -> None:
    assert not write_columns(answer_columns(REPLICATIONS), tmp_path / "answers")
    rows = list(csv.DictReader((tmp_path / "answers.csv").open(encoding="utf-8")))
    table = parquet.read_table(tmp_path / "answers.parquet").to_pylist()
    assert len(rows) == len(table) == sum(len(one.run.answers) for one in REPLICATIONS)
    assert table[-1]["finished_s"] == REPLICATIONS[1].run.answers[-1].finished_s
    assert float(rows[-1]["finished_s"]) == table[-1]["finished_s"]
    assert sum(row["is_counted"] for row in table) == sum(one.metrics.num_answers for one in REPLICATIONS)


def test_without_pyarrow_only_the_csv_is_written_with_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    (message,) = write_columns({"a": [1, 2]}, tmp_path / "answers")
    assert "pip install 'goodspeed[simulator]'" in message
    assert (tmp_path / "answers.csv").read_text(encoding="utf-8").split() == ["a", "1", "2"]
    assert not (tmp_path / "answers.parquet").exists()


def test_every_cell_and_seed_is_a_row_and_undefined_metrics_are_empty() -> None:
    grid = cells([Axis("load", (0.5,))])
    found = {grid[0]: {one.run.seed: one.metrics for one in REPLICATIONS}}
    columns = cell_columns(grid, found)
    assert columns["seed"] == [0, 1]
    assert columns["load"] == [0.5, 0.5]
    assert set(METRICS) < set(columns)
    assert columns["goodput"][1] == REPLICATIONS[1].metrics.values["goodput"]
