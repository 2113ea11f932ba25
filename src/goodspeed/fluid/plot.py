"""The study's figure: fluid paths, the beta sweep, drifting runs and their certificates. Needs matplotlib."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goodspeed.fluid.study import Study


def plot_study(found: Study, path: Path) -> None:
    """Write the figure; the file's ending says how (.svg, .png, .pdf)."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _fluid(axes[0, 0], found)
    _convergence(axes[0, 1], found)
    _drifting_run(axes[1, 0], found)
    _tracking(axes[1, 1], found)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _fluid(axes: Axes, found: Study) -> None:
    for start in found.starts:
        distances = np.linalg.norm(start.path.goodputs - found.optimum.goodputs, axis=1)
        axes.semilogy(start.path.times, distances, label=f"from {start.name}")
    times = found.starts[0].path.times
    axes.semilogy(times, found.starts[0].distances[0] * np.exp(-times), "k:", label="e^-t")
    axes.set(title="Fluid path", xlabel="t, in 1 / beta rounds", ylabel="|x(t) - x*|")
    axes.legend(fontsize="small")


def _convergence(axes: Axes, found: Study) -> None:
    for name, spots, marker in (("known", found.known, "o-"), ("estimated", found.estimated, "s--")):
        betas = [spot.beta for spot in spots]
        axes.semilogx(betas, [spot.far_probability for spot in spots], marker, label=f"|X(t) - x*|, acceptance {name}")
        shares = [spot.window_far_probability for spot in spots]
        axes.semilogx(betas, shares, marker, alpha=0.5, label=f"window's mean, acceptance {name}")
    axes.set(title="Theorems 1 and 4: probability of being far from x*", xlabel="beta", ylim=(-0.03, 1.03))
    axes.legend(fontsize="small")


def _drifting_run(axes: Axes, found: Study) -> None:
    tracking = found.tracking[0]
    for run, (gaps, bounds) in enumerate(zip(tracking.shown_gaps.T, tracking.shown_certificates.T, strict=True)):
        (line,) = axes.plot(gaps, linewidth=0.8, label=f"run {run + 1}")
        axes.plot(bounds, "--", color=line.get_color())
    title = f"Drift {tracking.speed:g} a round, beta {tracking.beta:g}: gap, and its certificate (dashed)"
    axes.set(title=title, xlabel="round", ylabel="U*(t) - U(X(t))", ylim=(-1.0, 4.0))
    axes.legend(fontsize="small")


def _tracking(axes: Axes, found: Study) -> None:
    labels = [f"beta {one.beta:g}\ndrift {one.speed:g}\nerror {one.error:g}" for one in found.tracking]
    places = np.arange(len(labels))
    pairs = (
        ("largest gap of a run", [one.largest_gap for one in found.tracking], "C0o"),
        ("certificate of a run, mean", [one.mean_certificate for one in found.tracking], "C0_"),
        ("largest mean gap", [one.largest_mean_gap for one in found.tracking], "C1o"),
        ("certificate of the mean", [one.largest_mean_bound for one in found.tracking], "C1_"),
        ("bound in advance of the mean", [one.mean_limit for one in found.tracking], "C2_"),
    )
    for name, values, marker in pairs:
        axes.semilogy(places, values, marker, markersize=8, label=name)
    axes.set_xticks(places, labels, fontsize="small")
    axes.set(title="Tracking: measured and bounds, settled rounds", ylabel="utility", ylim=(None, 200.0))
    axes.legend(fontsize="small", loc="upper right")
