"""Summaries as rows of text, for the terminal and for HTML reports."""

import math
from collections.abc import Mapping, Sequence

from goodspeed.experiment.metrics import METRICS, RunMetrics
from goodspeed.experiment.summary import Comparison, Summary, is_significant
from goodspeed.experiment.sweep import CellResult
from goodspeed.stats.intervals import ConfidenceInterval

HEADLINE_METRICS = ("goodput", "jain_index", "ttft_p50_s", "tpot_p50_s", "tpot_p99_s", "mean_acceptance_length")
"""The metrics in the tables and charts of a sweep."""

Rows = list[list[str]]


def metric_rows(summary: Summary) -> Rows:
    """One row per metric, with its interval."""
    return [
        [metric.title, metric.unit, number(metric.scale * estimate.mean), plus_minus(estimate, metric.scale)]
        for name, metric in METRICS.items()
        if (estimate := summary.metrics.get(name))
    ]


def goodput_rows(goodputs: Mapping[str, ConfidenceInterval]) -> Rows:
    """One row per client."""
    return [[client, number(estimate.mean), plus_minus(estimate)] for client, estimate in goodputs.items()]


def replication_rows(replications: Sequence[RunMetrics]) -> Rows:
    """One row per replication: its warm-up and its goodput."""
    return [
        [
            str(run.seed),
            number(run.warm_up.cut_s),
            run.warm_up.source,
            str(run.num_answers),
            number(run.values.get("goodput", math.nan)),
        ]
        for run in replications
    ]


def headers() -> list[str]:
    """The headers of cell_rows and difference_rows."""
    named = {name: (name.removesuffix("_s").replace("_", " "), METRICS[name].unit) for name in HEADLINE_METRICS}
    return ["cell", *(f"{title}, {unit}" if unit else title for title, unit in named.values())]


def cell_rows(names: Sequence[str], results: Sequence[CellResult]) -> Rows:
    """One row per cell: means and intervals of the headline metrics."""
    return [
        [name, *(_cell(result.summary.metrics.get(metric), METRICS[metric].scale) for metric in HEADLINE_METRICS)]
        for name, result in zip(names, results, strict=True)
    ]


def difference_rows(names: Sequence[str], results: Sequence[CellResult]) -> Rows:
    """One row per further cell: differences from the first; a star marks intervals that exclude 0."""
    return [
        [name, *(_difference(result.against_first, metric) for metric in HEADLINE_METRICS)]
        for name, result in zip(names[1:], results[1:], strict=True)
    ]


def number(value: float) -> str:
    """Four significant digits; a dash for NaN and infinity."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def plus_minus(estimate: ConfidenceInterval, scale: float = 1.0) -> str:
    """The half-width of the interval."""
    half = scale * (estimate.high - estimate.mean)
    return f"± {half:.2g}" if math.isfinite(half) else "one run"


def _cell(estimate: ConfidenceInterval | None, scale: float) -> str:
    return f"{number(scale * estimate.mean)} {plus_minus(estimate, scale)}" if estimate else "-"


def _difference(comparison: Comparison, metric: str) -> str:
    estimate, scale = comparison.differences.get(metric), METRICS[metric].scale
    if estimate is None:
        return "-"
    star = " *" if is_significant(estimate) else ""
    change = comparison.ratios.get(metric)
    share = f" ({change.mean - 1:+.1%})" if change else ""
    return f"{scale * estimate.mean:+.3g} {plus_minus(estimate, scale)}{share}{star}"
