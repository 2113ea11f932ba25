"""A grid of cells times seeds: what is done already is read, the rest is computed and kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from goodspeed.simulator.experiment.cell_folder import CellFolder
from goodspeed.simulator.experiment.executor import Executor
from goodspeed.simulator.experiment.figures import Figures
from goodspeed.simulator.experiment.grid import Cell
from goodspeed.simulator.experiment.replication import Measure, Scenario
from goodspeed.simulator.experiment.summary import Comparison, Summary, compare, summarise


@dataclass(frozen=True, slots=True)
class Task(Generic[Scenario]):
    """One cell under one seed."""

    cell: Cell
    scenario: Scenario
    seed: int


@dataclass(frozen=True, slots=True)
class CellResult:
    """A cell over its seeds, beside the first cell."""

    settings: dict[str, Any]
    summary: Summary
    against_first: Comparison


Found = dict[Cell, dict[int, Figures]]
"""By cell and seed."""


def open_tasks(tasks: Sequence[Task[Scenario]], folder: CellFolder) -> tuple[list[Task[Scenario]], Found]:
    """Those that are to do, and what is there."""
    todo, found = [], Found()
    for task in tasks:
        figures = folder.find(task.cell, task.seed)
        if figures is None:
            todo.append(task)
        else:
            found.setdefault(task.cell, {})[task.seed] = figures
    return todo, found


def sweep(
    measure: Measure[Scenario], tasks: Sequence[Task[Scenario]], folder: CellFolder, executor: Executor
) -> Iterator[tuple[Task[Scenario], Figures]]:
    """Computes and keeps; each as it ends."""
    for task, figures in executor.results(partial(_figures, measure), tasks):
        folder.save(task.cell, figures)
        yield task, figures


def cell_results(cells: Sequence[Cell], found: Found) -> list[CellResult]:
    """In the order of the cells; the first one beside itself too."""
    replications = [list(found[cell].values()) for cell in cells]
    return [
        CellResult(dict(cell.settings), summarise(mine), compare(mine, replications[0]))
        for cell, mine in zip(cells, replications, strict=True)
    ]


def _figures(measure: Measure[Scenario], task: Task[Scenario]) -> Figures:
    return measure.replication(task.scenario, task.seed).figures
