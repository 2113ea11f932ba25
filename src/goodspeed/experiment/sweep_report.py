"""The HTML report of a sweep: report.html of `goodspeed sweep`."""

import math
from collections.abc import Sequence
from typing import Any

from goodspeed.experiment import html_page as page
from goodspeed.experiment.chart import Chart, Series
from goodspeed.experiment.grid import Axis, GridCell, display_value
from goodspeed.experiment.metrics import METRICS
from goodspeed.experiment.run_report import ReportHeader, settings_table
from goodspeed.experiment.sweep import CellResult
from goodspeed.experiment.tables import HEADLINE_METRICS, cell_rows, difference_rows, headers
from goodspeed.stats.intervals import ConfidenceInterval

MAX_SERIES = 12
"""Lines in a chart; further ones are left out."""
METHOD = (
    "All cells use the same seeds, and under each of them see the same requests, acceptance traces and link delays "
    "(common random numbers). Intervals are 95% confidence intervals over seeds (Student's t). Differences are paired "
    "by seed, and a star marks those whose interval excludes 0. Without a real difference, one metric in twenty gets a "
    "star by chance."
)
NO_INTERVAL = ConfidenceInterval(math.nan, math.nan, math.nan)


def sweep_report(
    header: ReportHeader, axes: Sequence[Axis], cells: Sequence[GridCell], results: Sequence[CellResult]
) -> str:
    """The report as HTML. `results` are in the order of the cells."""
    names = [cell.name for cell in cells]
    chart_sections = [
        page.section(
            f"By {axis.path}", page.charts(*(_chart(axis, metric, cells, results) for metric in HEADLINE_METRICS))
        )
        for axis in axes
        if len(axis.values) > 1
    ]
    return page.page(
        f"Sweep of {header.name}",
        [
            page.paragraph(f"{len(cells)} cells. Command: {header.command}"),
            *chart_sections,
            page.section("Cells", page.paragraph(METHOD), page.table(headers(), cell_rows(names, results))),
            page.section(
                f"Differences from the first cell ({names[0]})", page.table(headers(), difference_rows(names, results))
            ),
            page.section("Scenario", settings_table(header.settings)),
        ],
    )


def _chart(axis: Axis, metric: str, cells: Sequence[GridCell], results: Sequence[CellResult]) -> Chart:
    """The metric over the axis, with one line per setting of the other axes."""
    lines: dict[str, list[tuple[Any, ConfidenceInterval]]] = {}
    for cell, result in zip(cells, results, strict=True):
        others = ", ".join(f"{path}={display_value(value)}" for path, value in cell.settings if path != axis.path)
        interval = result.summary.metrics.get(metric, NO_INTERVAL)
        lines.setdefault(others, []).append((dict(cell.settings)[axis.path], interval))
    is_numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in axis.values)
    shown = list(lines.items())[:MAX_SERIES]
    definition = METRICS[metric]
    return Chart(
        title=definition.title,
        x_label=axis.path,
        y_label=definition.unit,
        series=tuple(_series(name, points, axis, is_numeric, definition.scale) for name, points in shown),
        categories=() if is_numeric else tuple(map(display_value, axis.values)),
    )


def _series(
    name: str, points: Sequence[tuple[Any, ConfidenceInterval]], axis: Axis, is_numeric: bool, scale: float
) -> Series:
    sorted_points = sorted(
        ((value if is_numeric else axis.values.index(value), interval) for value, interval in points),
        key=lambda point: point[0],
    )
    return Series(
        name,
        [float(x) for x, _ in sorted_points],
        [scale * interval.mean for _, interval in sorted_points],
        [scale * interval.low for _, interval in sorted_points],
        [scale * interval.high for _, interval in sorted_points],
    )
