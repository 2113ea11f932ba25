"""Plots of reliability diagrams. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from goodspeed.tuning.evaluate.quality import Quality


def plot_reliability(drafts: Mapping[str, Sequence[Quality]], path: Path) -> None:
    """One panel for each rule and temperature, one line for each draft; `path` ends in .svg, .png or .pdf."""
    kinds = list({(quality.temperature, quality.rule): None for qualities in drafts.values() for quality in qualities})
    figure = Figure(figsize=(4.6 * len(kinds), 4.4), layout="constrained")
    for (temperature, rule), axes in zip(kinds, figure.subplots(1, len(kinds), squeeze=False)[0], strict=True):
        axes.plot([0, 1], [0, 1], "k:", linewidth=0.8)
        for name, qualities in drafts.items():
            for quality in qualities:
                if (quality.temperature, quality.rule) == (temperature, rule):
                    bins = quality.reliability.bins
                    label = f"{name}: error {quality.reliability.error:.3f}"
                    axes.plot([b.confidence for b in bins], [b.accepted for b in bins], "o-", label=label)
        axes.set(title=f"temperature {temperature:g}, {rule}", xlabel="confidence", ylabel="share accepted")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
