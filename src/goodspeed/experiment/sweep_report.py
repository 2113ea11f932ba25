"""The report of a sweep: what `goodspeed sweep` writes as report.html."""

import math
from collections.abc import Sequence
from typing import Any

from goodspeed.experiment import html_page as page
from goodspeed.experiment.chart import Chart, Series
from goodspeed.experiment.grid import Axis, GridCell, shown
from goodspeed.experiment.metrics import METRICS
from goodspeed.experiment.run_report import ReportHeader, settings_table
from goodspeed.experiment.sweep import CellResult
from goodspeed.experiment.tables import HEADLINES, cell_rows, difference_rows, headers
from goodspeed.stats.intervals import ConfidenceInterval

MOST_SERIES = 12
"""Lines in a plot; of more, the first."""
METHOD = (
    "Cells share their seeds: the same questions, luck and links (common random numbers). Intervals are 95% by "
    "Student's t over seeds; differences are paired by seed, and a star marks those whose interval does not hold 0. "
    "Of cells that do not differ, one metric in twenty gets a star by chance."
)
NO_INTERVAL = ConfidenceInterval(math.nan, math.nan, math.nan)


def sweep_report(
    header: ReportHeader, axes: Sequence[Axis], cells: Sequence[GridCell], results: Sequence[CellResult]
) -> str:
    """HTML; results are those of the cells, in their order."""
    names = [cell.name for cell in cells]
    plots = [
        page.section(f"By {axis.path}", page.charts(*(_chart(axis, metric, cells, results) for metric in HEADLINES)))
        for axis in axes
        if len(axis.values) > 1
    ]
    return page.page(
        f"ScenarioSweep of {header.name}",
        [
            page.paragraph(f"{len(cells)} cells. Made by: {header.command}"),
            *plots,
            page.section("Cells", page.paragraph(METHOD), page.table(headers(), cell_rows(names, results))),
            page.section(
                f"Differences from the first cell ({names[0]})", page.table(headers(), difference_rows(names, results))
            ),
            page.section("Settings", settings_table(header.settings)),
        ],
    )


def _chart(axis: Axis, metric: str, cells: Sequence[GridCell], results: Sequence[CellResult]) -> Chart:
    """The metric over the axis, a line for each setting of the other axes."""
    lines: dict[str, list[tuple[Any, ConfidenceInterval]]] = {}
    for cell, result in zip(cells, results, strict=True):
        others = ", ".join(f"{path}={shown(value)}" for path, value in cell.settings if path != axis.path)
        found = result.summary.metrics.get(metric, NO_INTERVAL)
        lines.setdefault(others, []).append((dict(cell.settings)[axis.path], found))
    is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values)
    kept = list(lines.items())[:MOST_SERIES]
    about = METRICS[metric]
    return Chart(
        title=about.title,
        x_label=axis.path,
        y_label=about.unit,
        series=tuple(_series(name, points, axis, is_numeric, about.scale) for name, points in kept),
        categories=() if is_numeric else tuple(map(shown, axis.values)),
    )


def _series(
    name: str, points: Sequence[tuple[Any, ConfidenceInterval]], axis: Axis, is_numeric: bool, scale: float
) -> Series:
    placed = sorted(
        ((value if is_numeric else axis.values.index(value), found) for value, found in points),
        key=lambda point: point[0],
    )
    return Series(
        name,
        [float(place) for place, _ in placed],
        [scale * found.mean for _, found in placed],
        [scale * found.low for _, found in placed],
        [scale * found.high for _, found in placed],
    )
