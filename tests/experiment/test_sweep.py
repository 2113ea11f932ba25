"""Sweeps are stored, resumed, refused and compared."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from goodspeed.errors import CapacityError, ConfigError
from goodspeed.experiment.cell_folder import SCHEMA, CellFolder, SweepManifest
from goodspeed.experiment.executor import SerialExecutor
from goodspeed.experiment.grid import Axis, GridCell, cells
from goodspeed.experiment.metrics import RunMetrics, compute_metrics
from goodspeed.experiment.replication import PILOT_SEED, Measure
from goodspeed.experiment.sweep import MetricsByCell, ScenarioSweep, SweepTask, cell_results
from goodspeed.experiment.warm_up import WarmUp, WarmUpSource, find_warm_up
from goodspeed.simulator.result import RunResult
from goodspeed.testing.single_server import FAILING_SEED, SingleServerQueue, clients, simulate, simulate_or_fail

MEASURE = Measure(simulate_or_fail, clients)
FROM_50_S = WarmUp(50.0, WarmUpSource.GIVEN)
GRID = cells([Axis("load", (0.3, 0.6))])
MANIFEST = SweepManifest(SCHEMA, {"duration_s": 60.0, "drafters": [{"name": "phone"}]}, "mser-5")


@dataclass
class Counting:
    """A simulator that counts its runs."""

    num_runs: int = 0

    def __call__(self, queue: SingleServerQueue, seed: int) -> RunResult:
        self.num_runs += 1
        return simulate(queue, seed)


def _tasks(seeds: Sequence[int]) -> list[SweepTask[SingleServerQueue]]:
    return [
        SweepTask(cell, SingleServerQueue(dict(cell.settings)["load"], 400.0), seed) for seed in seeds for cell in GRID
    ]


def _sweep(
    tasks: Sequence[SweepTask[SingleServerQueue]],
    folder: CellFolder[RunMetrics],
    measure: Measure[SingleServerQueue] = MEASURE,
) -> MetricsByCell:
    return ScenarioSweep(measure, tasks, folder, FROM_50_S).run(SerialExecutor(), lambda: None)


@pytest.fixture
def folder(tmp_path: Path) -> CellFolder[RunMetrics]:
    made = CellFolder(tmp_path / "sweep", RunMetrics)
    made.open(MANIFEST, is_resumed=False)
    return made


def test_a_resumed_sweep_runs_only_missing_replications(folder: CellFolder[RunMetrics]) -> None:
    counting = Counting()
    measure = Measure(counting, clients)
    first = _sweep(_tasks([0, 1]), folder, measure)
    assert counting.num_runs == 4
    again = _sweep(_tasks([0, 1, 2]), folder, measure)
    assert counting.num_runs == 6
    assert {cell: {seed: again[cell][seed] for seed in (0, 1)} for cell in GRID} == first
    assert again[GRID[1]][2] == compute_metrics(
        simulate(SingleServerQueue(0.6, 400.0), 2), FROM_50_S, ["client 0", "client 1"]
    )


def test_replications_finished_before_a_failure_are_kept(folder: CellFolder[RunMetrics]) -> None:
    with pytest.raises(CapacityError):
        _sweep(_tasks([0, FAILING_SEED]), folder)
    assert [folder.find(cell, 0) is not None for cell in GRID] == [True, True]
    assert [folder.find(cell, FAILING_SEED) for cell in GRID] == [None, None]


def test_each_cell_has_one_pilot_run(folder: CellFolder[RunMetrics]) -> None:
    counting = Counting()
    sweep = ScenarioSweep(Measure(counting, clients), _tasks([0, 1]), folder, given=None)
    runs: list[None] = []
    found = sweep.run(SerialExecutor(), lambda: runs.append(None))
    assert len(runs) == sweep.num_runs == counting.num_runs == 6
    for cell in GRID:
        start = find_warm_up(simulate(SingleServerQueue(dict(cell.settings)["load"], 400.0), PILOT_SEED).answers)
        assert [one.warm_up for one in found[cell].values()] == [start, start]
        assert list(found[cell]) == [0, 1], "pilots do not count"
    assert sweep.run(SerialExecutor(), lambda: None) == found
    assert counting.num_runs == 6


def test_the_order_of_the_axes_does_not_matter(folder: CellFolder[RunMetrics]) -> None:
    one = compute_metrics(simulate(SingleServerQueue(0.3, 400.0), 0), FROM_50_S)
    folder.save(GridCell((("a", 1), ("b", 2))), 0, one)
    assert folder.find(GridCell((("b", 2), ("a", 1))), 0) == one
    assert folder.find(GridCell((("a", 2), ("b", 1))), 0) is None


def test_a_folder_in_use_requires_resume(folder: CellFolder[RunMetrics]) -> None:
    folder.open(MANIFEST, is_resumed=False)  # nothing is done in it
    folder.save(GRID[0], 0, compute_metrics(simulate(SingleServerQueue(0.3, 400.0), 0), FROM_50_S))
    with pytest.raises(ConfigError, match="--resume continues it"):
        folder.open(MANIFEST, is_resumed=False)
    folder.open(MANIFEST, is_resumed=True)


def test_a_changed_scenario_is_refused_with_the_changed_key(folder: CellFolder[RunMetrics]) -> None:
    folder.save(GRID[0], 0, compute_metrics(simulate(SingleServerQueue(0.3, 400.0), 0), FROM_50_S))
    changed = SweepManifest(SCHEMA, {"duration_s": 60.0, "drafters": [{"name": "tablet"}]}, "mser-5")
    with pytest.raises(ConfigError, match=r"drafters\.0\.name was 'phone' and is 'tablet'"):
        folder.open(changed, is_resumed=True)
    with pytest.raises(ConfigError, match=r"warm_up was 'mser-5' and is '5'"):
        folder.open(SweepManifest(SCHEMA, MANIFEST.scenario, "5"), is_resumed=True)


def test_an_invalid_file_is_refused(folder: CellFolder[RunMetrics]) -> None:
    folder.save(GRID[0], 0, compute_metrics(simulate(SingleServerQueue(0.3, 400.0), 0), FROM_50_S))
    (file,) = (folder.path / "cells").iterdir()
    file.write_text("{", encoding="utf-8")
    with pytest.raises(ConfigError, match="is not part of a sweep"):
        folder.find(GRID[0], 0)


def test_cells_are_compared_with_the_first_by_seed(folder: CellFolder[RunMetrics]) -> None:
    first, second = cell_results(GRID, _sweep(_tasks([0, 1, 2]), folder))
    assert first.against_first.differences["latency_mean_s"].mean == 0.0
    difference = second.against_first.differences["latency_mean_s"]
    means = [one.summary.metrics["latency_mean_s"].mean for one in (first, second)]
    assert difference.mean == pytest.approx(means[1] - means[0])
    assert difference.mean > 0.0
    assert second.settings == {"load": 0.6}
