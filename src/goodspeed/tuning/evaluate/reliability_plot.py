"""ReliabilityDiagram diagrams. Needs matplotlib."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from goodspeed.tuning.evaluate.quality import Quality


def plot_reliability(drafts: Mapping[str, Sequence[Quality]], path: Path) -> None:
    """One panel for every rule and temperature, one line a draft; the file's ending says how (.svg, .png, .pdf)."""
    kinds = list({(one.temperature, one.rule): None for qualities in drafts.values() for one in qualities})
    figure = Figure(figsize=(4.6 * len(kinds), 4.4), layout="constrained")
    for (temperature, rule), axes in zip(kinds, figure.subplots(1, len(kinds), squeeze=False)[0], strict=True):
        axes.plot([0, 1], [0, 1], "k:", linewidth=0.8)
        for name, qualities in drafts.items():
            for one in qualities:
                if (one.temperature, one.rule) == (temperature, rule):
                    bins = one.reliability.bins
                    label = f"{name}: error {one.reliability.error:.3f}"
                    axes.plot([b.confidence for b in bins], [b.accepted for b in bins], "o-", label=label)
        axes.set(title=f"temperature {temperature:g}, {rule}", xlabel="confidence", ylabel="share accepted")
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
