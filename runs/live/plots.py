"""Plots of the paper's figures 2, 3 and 4 from run logs: SVG, with the values as CSV."""

import csv
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from runs.live.comparison import ArmRateMetrics, RunLogs
from runs.live.run_log import RunLog
from runs.live.run_metrics import TimeSplit, moving_average, running_utility, time_split

from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra
from goodspeed.stats.intervals import ConfidenceInterval, t_quantile

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 10  # of the moving average, as in the paper
STRIDE = 4  # of the rounds in the CSV files
COLOURS = ("#4d4d4d", "#d98c21", "#1f6fb4", "#2a9d5c", "#a23b72", "#7a5195")
PARTS = ("receiving", "verification", "deciding", "sending")


def estimated_and_real(run_log: RunLog, num_rounds: int, stem: Path) -> None:
    """Figure 2: the goodput that the scheduler expected of each round, and the measured one, by client."""
    series = {}
    for client in run_log.clients:
        rounds = client.rounds[:num_rounds]
        series[client.name] = (
            moving_average([client.expected[i] for i in rounds], WIDTH),
            moving_average([client.committed[i] for i in rounds], WIDTH),
        )
    figure, panels = _panels(len(series))
    for panel, (name, (expected, real)) in zip(panels, series.items(), strict=True):
        numbers = range(1, len(real) + 1)
        panel.plot(numbers, real, color=COLOURS[0], linewidth=0.9, label="real")
        panel.plot(numbers, expected, color=COLOURS[2], linewidth=0.9, label="estimated")
        panel.set_title(name, fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    figure.supxlabel("round", fontsize=9)
    figure.supylabel(f"tokens per round, mean of {WIDTH}", fontsize=9)
    _save(figure, stem)
    rows = (
        (name, i + 1, f"{expected[i]:.3f}", f"{real[i]:.3f}")
        for name, (expected, real) in series.items()
        for i in range(0, len(real), STRIDE)
    )
    _write(stem, ("client", "round", "estimated", "real"), rows)


def wall_times(run_logs: Mapping[str, RunLogs], stem: Path) -> None:
    """Figure 3: seconds of wall time per 1000 committed tokens, by phase; means over seeds."""
    figure, panels = _panels(len(run_logs))
    rows = []
    for panel, (setup, arms) in zip(panels, run_logs.items(), strict=True):
        splits = {arm: _mean_split(list(runs.values())) for arm, runs in arms.items()}
        bottom = np.zeros(len(splits))
        for part, colour in zip(PARTS, COLOURS[2:], strict=False):
            heights = np.array([getattr(split, part) for split in splits.values()])
            panel.bar(list(splits), heights, 0.6, bottom, color=colour, label=part)
            bottom += heights
        panel.set_title(setup, fontsize=9)
        panel.tick_params(axis="x", labelsize=7)
        rows += [
            (setup, arm, *(f"{getattr(split, part):.4f}" for part in PARTS), f"{split.total:.4f}")
            for arm, split in splits.items()
        ]
    panels[0].legend(fontsize=8, frameon=False)
    figure.supylabel("s per 1000 committed tokens", fontsize=9)
    _save(figure, stem)
    _write(stem, ("setup", "arm", *PARTS, "total"), rows)


def utilities(run_logs: Mapping[str, RunLogs], num_rounds: int, stem: Path) -> None:
    """Figure 4: utility of the running mean over rounds, mean over seeds with its 95% confidence interval."""
    figure, panels = _panels(len(run_logs))
    numbers = np.arange(1, num_rounds + 1)
    rows = []
    for panel, (setup, arms) in zip(panels, run_logs.items(), strict=True):
        for colour, (arm, runs) in zip(COLOURS, arms.items(), strict=False):
            curves = np.array([running_utility(run, num_rounds) for run in runs.values()])
            mean = curves.mean(axis=0)
            half = _half_widths(curves)
            panel.plot(numbers, mean, color=colour, linewidth=1.2, label=arm)
            panel.fill_between(numbers, mean - half, mean + half, color=colour, alpha=0.2, linewidth=0)
            rows += [
                (setup, arm, len(curves), i + 1, *(f"{v:.4f}" for v in (mean[i], mean[i] - half[i], mean[i] + half[i])))
                for i in sorted({*range(STRIDE - 1, num_rounds, STRIDE), num_rounds - 1})
            ]
        panel.set_title(setup, fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    figure.supxlabel("round", fontsize=9)
    figure.supylabel("utility of the running mean", fontsize=9)
    _save(figure, stem)
    _write(stem, ("setup", "arm", "seeds", "round", "utility", "low", "high"), rows)


def rates(metrics: Mapping[str, Sequence[ArmRateMetrics]], stem: Path) -> None:
    """Goodput per second relative to the baseline, by client and as geometric mean, with 95% intervals."""
    figure, panels = _panels(len(metrics))
    rows = []
    for panel, (setup, arms) in zip(panels, metrics.items(), strict=True):
        for number, arm in enumerate(arms):
            ratios = {**arm.clients, "geometric mean": arm.ratio}
            positions = np.arange(len(ratios)) + 0.2 * number / max(1, len(arms) - 1) - 0.1
            means = np.array([ratio.mean for ratio in ratios.values()])
            halves = np.array([[ratio.mean - ratio.low, ratio.high - ratio.mean] for ratio in ratios.values()]).T
            bars = halves if np.isfinite(halves).all() else None
            panel.errorbar(positions, means, bars, fmt="o", markersize=3, color=COLOURS[number], label=arm.arm)
            panel.set_xticks(range(len(ratios)), list(ratios), rotation=30, ha="right")
            rows += [(setup, arm.arm, arm.num_seeds, name, *_rounded(ratio)) for name, ratio in ratios.items()]
        panel.set_title(setup, fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    figure.supylabel("goodput per second, ratio", fontsize=9)
    _save(figure, stem)
    _write(stem, ("setup", "arm", "seeds", "client", "ratio", "low", "high"), rows)


def _rounded(interval: ConfidenceInterval) -> tuple[str, str, str]:
    return f"{interval.mean:.4f}", f"{interval.low:.4f}", f"{interval.high:.4f}"


def _half_widths(
    curves: npt.NDArray[np.float64],  # [seeds, rounds]
) -> npt.NDArray[np.float64]:
    """[rounds]: half of the 95% interval; 0 for a single seed."""
    n = len(curves)
    if n == 1:
        return np.zeros(curves.shape[1])
    return np.asarray(t_quantile(n - 1) * curves.std(axis=0, ddof=1) / np.sqrt(n))


def _mean_split(runs: Sequence[RunLog]) -> TimeSplit:
    """Per 1000 committed tokens."""
    sums = []
    for run in runs:
        split = time_split(run.steps)
        tokens = sum(sum(client.committed) for client in run.clients) / 1e3
        sums.append([getattr(split, part) / tokens for part in PARTS])
    receiving, verification, deciding, sending = np.mean(sums, axis=0)
    return TimeSplit(float(receiving), float(verification), float(deciding), float(sending))


def _panels(num: int) -> "tuple[Figure, list[Axes]]":
    """Raises ConfigError without matplotlib."""
    try:
        canvas = importlib.import_module("matplotlib.backends.backend_svg").FigureCanvasSVG
        figure_type = importlib.import_module("matplotlib.figure").Figure
    except ImportError as error:
        raise ConfigError(missing_extra("a figure", "plots", error)) from error
    columns = min(num, 4)
    rows = -(-num // columns)
    figure: Figure = figure_type(figsize=(2.8 * columns, 2.4 * rows), layout="constrained")
    canvas(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for unused in panels[num:]:
        unused.remove()
    for panel in panels[:num]:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=8)
    return figure, list(panels[:num])


def _save(figure: "Figure", stem: Path) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(stem.with_suffix(".svg"), metadata={"Date": None})


def _write(stem: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with stem.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
