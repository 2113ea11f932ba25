"""Summaries as rows of text: for the terminal and for the page alike."""

import math
from collections.abc import Mapping, Sequence

from goodspeed.experiment.metrics import METRICS, RunMetrics
from goodspeed.experiment.summary import Comparison, Summary, is_clear
from goodspeed.experiment.sweep import CellResult
from goodspeed.stats.intervals import ConfidenceInterval

HEADLINES = ("goodput", "jain_index", "ttft_p50_s", "tpot_p50_s", "tpot_p99_s", "mean_acceptance_length")
"""What a sweep's tables and plots show first."""

Rows = list[list[str]]


def metric_rows(summary: Summary) -> Rows:
    """Every metric with its interval."""
    return [
        [metric.title, metric.unit, number(metric.scale * found.mean), plus_minus(found, metric.scale)]
        for name, metric in METRICS.items()
        if (found := summary.metrics.get(name))
    ]


def goodput_rows(goodputs: Mapping[str, ConfidenceInterval]) -> Rows:
    """Every client."""
    return [[client, number(found.mean), plus_minus(found)] for client, found in goodputs.items()]


def replication_rows(replications: Sequence[RunMetrics]) -> Rows:
    """Every seed: its warm-up and its goodput."""
    return [
        [
            str(one.seed),
            number(one.warm_up.cut_s),
            one.warm_up.source,
            str(one.num_answers),
            number(one.values.get("goodput", math.nan)),
        ]
        for one in replications
    ]


def headers() -> list[str]:
    """Of cell_rows and difference_rows."""
    named = {name: (name.removesuffix("_s").replace("_", " "), METRICS[name].unit) for name in HEADLINES}
    return ["cell", *(f"{title}, {unit}" if unit else title for title, unit in named.values())]


def cell_rows(names: Sequence[str], results: Sequence[CellResult]) -> Rows:
    """Means and intervals of the headlines, a row for each cell."""
    return [
        [name, *(_cell(result.summary.metrics.get(metric), METRICS[metric].scale) for metric in HEADLINES)]
        for name, result in zip(names, results, strict=True)
    ]


def difference_rows(names: Sequence[str], results: Sequence[CellResult]) -> Rows:
    """Every cell but the first beside the first; a star where the interval of the difference does not hold 0."""
    return [
        [name, *(_difference(result.against_first, metric) for metric in HEADLINES)]
        for name, result in zip(names[1:], results[1:], strict=True)
    ]


def number(value: float) -> str:
    """Four digits that count; a dash for what does not exist."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def plus_minus(found: ConfidenceInterval, scale: float = 1.0) -> str:
    """Half the interval's width."""
    half = scale * (found.high - found.mean)
    return f"± {half:.2g}" if math.isfinite(half) else "one run"


def _cell(found: ConfidenceInterval | None, scale: float) -> str:
    return f"{number(scale * found.mean)} {plus_minus(found, scale)}" if found else "-"


def _difference(comparison: Comparison, metric: str) -> str:
    found, scale = comparison.differences.get(metric), METRICS[metric].scale
    if found is None:
        return "-"
    mark = " *" if is_clear(found) else ""
    change = comparison.ratios.get(metric)
    share = f" ({change.mean - 1:+.1%})" if change else ""
    return f"{scale * found.mean:+.3g} {plus_minus(found, scale)}{share}{mark}"
