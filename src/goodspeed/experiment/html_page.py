"""A self-contained HTML page of text, tables and charts with their data: no scripts, no external resources."""

import csv
import io
from base64 import b64encode
from collections.abc import Sequence
from html import escape
from importlib import resources

from goodspeed.experiment.chart import COLOURS, Chart, svg

STYLE = "page.css"


def page(title: str, sections: Sequence[str]) -> str:
    """The whole document. `sections` are HTML."""
    style = resources.files(__package__).joinpath(STYLE).read_text(encoding="utf-8")
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(title)}</title>",
        f"<style>\n{style}</style></head>",
        f"<body>\n<h1>{escape(title)}</h1>",
        *sections,
        "</body>\n</html>\n",
    ]
    return "\n".join(lines)


def section(title: str, *contents: str) -> str:
    """A heading and its contents (HTML)."""
    return "\n".join(["<section>", f"<h2>{escape(title)}</h2>", *contents, "</section>"])


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def charts(*drawn: Chart) -> str:
    """Charts side by side where there is room, each with its data as a CSV download."""
    return "\n".join(['<div class="charts">', *map(_figure, drawn), "</div>"])


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with plain text in its cells."""
    head = "".join(f"<th>{escape(header)}</th>" for header in headers)
    body = "\n".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>'


def collapsible(title: str, content: str) -> str:
    """HTML content that opens on a click."""
    return f"<details><summary>{escape(title)}</summary>\n{content}\n</details>"


def _figure(chart: Chart) -> str:
    data = b64encode(_csv(chart).encode()).decode()
    name = "-".join(chart.title.lower().split()) + ".csv"
    link = f'<a download="{escape(name)}" href="data:text/csv;base64,{data}">data (CSV)</a>'
    caption = f"<figcaption><b>{escape(chart.title)}</b>{link}</figcaption>"
    return f"<figure>\n{caption}\n{svg(chart)}\n{_legend(chart)}</figure>"


def _legend(chart: Chart) -> str:
    if len(chart.series) < 2:
        return ""
    names = "".join(
        f'<span><i style="background: var(--c{number % COLOURS})"></i>{escape(series.name)}</span>'
        for number, series in enumerate(chart.series)
    )
    return f'<div class="legend">{names}</div>\n'


def _csv(chart: Chart) -> str:
    """The chart's points: series, x, y, and the ends of error bars."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["series", chart.x_label, chart.y_label, "low", "high"])
    for series in chart.series:
        for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)):
            error_bar = (series.low[i], series.high[i]) if series.low else ("", "")
            writer.writerow([series.name, chart.categories[int(x)] if chart.categories else x, y, *error_bar])
    return text.getvalue()
