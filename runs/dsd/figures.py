"""Figures of cells: tokens per second beside target-only mode, by configuration and by round trip. Needs matplotlib."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from runs.dsd.arms import CO_LOCATED, DEFAULT, STATIC_4, TARGET_ONLY
from runs.dsd.cells import Cell
from runs.dsd.tables import ORACLE, BySeed, grouped, logs_beside, rtt_ms_of

from goodspeed.stats.intervals import interval

SHOWN = (
    STATIC_4,
    "threshold",
    "ucb",
    "survival, confidence",
    "awc",
    ORACLE,
    CO_LOCATED,
    DEFAULT,
    "clairvoyant, up to 8",
)


def draw(cells: Sequence[Cell], folder: Path) -> None:
    """Write dsd-round-trips.svg and dsd-configurations.svg."""
    from matplotlib.figure import Figure  # noqa: PLC0415  (an optional extra)

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for arm in SHOWN:
        points = sorted(by_round_trip(cells, arm).items())
        if points:
            means, low, high = zip(*[ends(logs) for _, logs in points], strict=True)
            spread = np.abs(np.array([low, high]) - np.array(means))
            axes.errorbar([rtt_ms for rtt_ms, _ in points], means, yerr=spread, marker=".", capsize=2, label=arm)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set(xlabel="round trip, ms", ylabel="tokens/s beside target-only", title="GSM8K, 600 drafters, 20 verifiers")
    axes.legend(fontsize="small")
    figure.savefig(folder / "dsd-round-trips.svg")
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    setups = grouped(cell for cell in cells if cell.family == "configurations")
    arms = [arm for arm in SHOWN if any(arm in found for found in setups.values())]
    for number, arm in enumerate(arms):
        place = np.arange(len(setups)) + 0.8 * (number / len(arms) - 0.5)
        values = [ends(beside(found, arm))[0] for found in setups.values()]
        axes.bar(place, values, width=0.8 / len(arms), label=arm)
    axes.axhline(1.0, color="black", linewidth=0.8)
    axes.set_xticks(
        range(len(setups)), [name.replace(", ", "\n").replace(" drafters", "") for name in setups], fontsize=7
    )
    axes.set(ylabel="tokens/s beside target-only", title="DSD's configurations")
    axes.legend(fontsize="x-small", ncols=3)
    figure.savefig(folder / "dsd-configurations.svg")


def by_round_trip(cells: Iterable[Cell], arm: str) -> dict[float, list[float]]:
    """Logarithms of ratios to target-only mode, for GSM8K with 600 drafters."""
    setups = grouped(cell for cell in cells if cell.family in {"configurations", "round_trips"})
    found = {rtt_ms: beside(arms, arm) for name, arms in setups.items() if (rtt_ms := rtt_ms_of(name)) is not None}
    return {rtt_ms: logs for rtt_ms, logs in found.items() if logs}


def beside(arms: Mapping[str, BySeed], arm: str) -> list[float]:
    return logs_beside(arms[arm], arms[TARGET_ONLY], lambda cell: cell.tokens_per_s) if arm in arms else []


def ends(logs: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean and interval; the mean alone of one seed, NaN of none."""
    if not logs:
        return math.nan, math.nan, math.nan
    found = interval(logs)
    low, high = (found.low, found.high) if len(logs) > 1 else (found.mean, found.mean)
    return math.exp(found.mean), math.exp(low), math.exp(high)
