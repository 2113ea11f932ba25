"""A grid of cells times seeds: what is done already is read, the rest is computed and kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from goodspeed.experiment.cell_folder import CellFolder
from goodspeed.experiment.executor import Executor
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.metrics import RunMetrics
from goodspeed.experiment.replication import PILOT_SEED, Measure, Scenario
from goodspeed.experiment.summary import Comparison, Summary, compare, summarise
from goodspeed.experiment.warm_up import WarmUp


@dataclass(frozen=True, slots=True)
class SweepTask(Generic[Scenario]):
    """One cell under one seed."""

    cell: GridCell
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell over its seeds, beside the first cell."""

    settings: dict[str, Any]
    summary: Summary
    against_first: Comparison


MetricsByCell = dict[GridCell, dict[int, RunMetrics]]
"""By cell and seed."""


@dataclass(frozen=True, slots=True)
class ScenarioSweep(Generic[Scenario]):
    """Tasks, and how they are done. Without a `given` warm-up a pilot of each cell finds it."""

    measure: Measure[Scenario]
    tasks: Sequence[SweepTask[Scenario]]
    folder: CellFolder
    given: WarmUp | None

    @property
    def num_runs(self) -> int:
        """Pilots included."""
        return len(self.tasks) + len(self._pilots)

    def run(self, executor: Executor, on_done: Callable[[], object]) -> MetricsByCell:
        """Reads what is there, computes and keeps the rest; `on_done` is told of each run."""
        pilots = self._done(self._pilots, {}, executor, on_done)
        starts = {cell: seeds[PILOT_SEED].warm_up for cell, seeds in pilots.items()}
        if self.given is not None:
            starts = {task.cell: self.given for task in self.tasks}
        return self._done(self.tasks, starts, executor, on_done)

    @property
    def _pilots(self) -> list[SweepTask[Scenario]]:
        scenarios = {task.cell: task.scenario for task in self.tasks} if self.given is None else {}
        return [SweepTask(cell, scenario, PILOT_SEED) for cell, scenario in scenarios.items()]

    def _done(
        self,
        tasks: Sequence[SweepTask[Scenario]],
        starts: Mapping[GridCell, WarmUp],  # none: the tasks are pilots
        executor: Executor,
        on_done: Callable[[], object],
    ) -> MetricsByCell:
        found: dict[tuple[GridCell, int], RunMetrics] = {}
        for task in tasks:
            if (metrics := self.folder.find(task.cell, task.seed)) is not None:
                found[task.cell, task.seed] = metrics
                on_done()
        jobs = [(task, starts.get(task.cell)) for task in tasks if (task.cell, task.seed) not in found]
        for (task, _), metrics in executor.results(partial(_metrics, self.measure), jobs):
            self.folder.save(task.cell, metrics)
            found[task.cell, task.seed] = metrics
            on_done()
        by_cell: MetricsByCell = {}
        for task in tasks:  # in their order, whatever the order in which they ended
            by_cell.setdefault(task.cell, {})[task.seed] = found[task.cell, task.seed]
        return by_cell


def cell_results(cells: Sequence[GridCell], found: MetricsByCell) -> list[CellResult]:
    """In the order of the cells; the first one beside itself too."""
    replications = [list(found[cell].values()) for cell in cells]
    return [
        CellResult(dict(cell.settings), summarise(mine), compare(mine, replications[0]))
        for cell, mine in zip(cells, replications, strict=True)
    ]


def _metrics(measure: Measure[Scenario], job: tuple[SweepTask[Scenario], WarmUp | None]) -> RunMetrics:
    task, start = job
    if start is None:
        return measure.pilot(task.scenario).metrics
    return measure.replication(task.scenario, start, task.seed).metrics
