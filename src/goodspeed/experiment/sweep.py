"""A sweep over cells and seeds: stored replications are read, the others are computed and stored."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from goodspeed.experiment.cell_folder import CellFolder, Record
from goodspeed.experiment.executor import Executor
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.metrics import RunMetrics
from goodspeed.experiment.replication import PILOT_SEED, Measure, Scenario
from goodspeed.experiment.summary import Comparison, Summary, compare, summarise
from goodspeed.experiment.warm_up import WarmUp


@dataclass(frozen=True, slots=True)
class SweepTask(Generic[Scenario]):
    """The replication of one cell under one seed."""

    cell: GridCell
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class CellResult:
    """The summary of a cell over its seeds, and its comparison with the first cell."""

    settings: dict[str, Any]
    summary: Summary
    against_first: Comparison


MetricsByCell = dict[GridCell, dict[int, RunMetrics]]
"""The metrics by cell and seed."""


@dataclass(frozen=True, slots=True)
class ScenarioSweep(Generic[Scenario]):
    """The tasks of a sweep. Without a `given` warm-up, a pilot run of each cell finds it."""

    measure: Measure[Scenario]
    tasks: Sequence[SweepTask[Scenario]]
    folder: CellFolder[RunMetrics]
    given: WarmUp | None

    @property
    def num_runs(self) -> int:
        """The number of runs, pilots included."""
        return len(self.tasks) + len(self._pilots)

    def run(self, executor: Executor, on_done: Callable[[], object]) -> MetricsByCell:
        """Read stored replications, compute and store the others. `on_done` is called for each run."""
        pilots = self._complete(self._pilots, {}, executor, on_done)
        warm_ups = {cell: seeds[PILOT_SEED].warm_up for cell, seeds in pilots.items()}
        if self.given is not None:
            warm_ups = {task.cell: self.given for task in self.tasks}
        return self._complete(self.tasks, warm_ups, executor, on_done)

    @property
    def _pilots(self) -> list[SweepTask[Scenario]]:
        scenarios = {task.cell: task.scenario for task in self.tasks} if self.given is None else {}
        return [SweepTask(cell, scenario, PILOT_SEED) for cell, scenario in scenarios.items()]

    def _complete(
        self,
        tasks: Sequence[SweepTask[Scenario]],
        warm_ups: Mapping[GridCell, WarmUp],  # empty: the tasks are pilots
        executor: Executor,
        on_done: Callable[[], object],
    ) -> MetricsByCell:
        jobs = [(task, warm_ups.get(task.cell)) for task in tasks]
        results = completed(jobs, partial(_metrics, self.measure), self.folder, executor, on_done)
        by_cell: MetricsByCell = {}
        for task in tasks:  # in task order, not in order of completion
            by_cell.setdefault(task.cell, {})[task.seed] = results[task.cell, task.seed]
        return by_cell


def completed(
    jobs: Sequence[tuple[SweepTask[Scenario], WarmUp | None]],
    record_of: Callable[[tuple[SweepTask[Scenario], WarmUp | None]], Record],
    folder: CellFolder[Record],
    executor: Executor,
    on_done: Callable[[], object],
) -> dict[tuple[GridCell, int], Record]:
    """The records of all jobs by cell and seed: stored ones are read, the others are made and stored."""
    results: dict[tuple[GridCell, int], Record] = {}
    for task, _ in jobs:
        if (record := folder.find(task.cell, task.seed)) is not None:
            results[task.cell, task.seed] = record
            on_done()
    missing = [(task, warm_up) for task, warm_up in jobs if (task.cell, task.seed) not in results]
    for (task, _), record in executor.results(record_of, missing):
        folder.save(task.cell, task.seed, record)
        results[task.cell, task.seed] = record
        on_done()
    return results


def cell_results(cells: Sequence[GridCell], metrics: MetricsByCell) -> list[CellResult]:
    """Results in the order of the cells. The first cell is also compared with itself."""
    replications = [list(metrics[cell].values()) for cell in cells]
    return [
        CellResult(dict(cell.settings), summarise(runs), compare(runs, replications[0]))
        for cell, runs in zip(cells, replications, strict=True)
    ]


def _metrics(measure: Measure[Scenario], job: tuple[SweepTask[Scenario], WarmUp | None]) -> RunMetrics:
    task, warm_up = job
    if warm_up is None:
        return measure.pilot(task.scenario).metrics
    return measure.replication(task.scenario, warm_up, task.seed).metrics
