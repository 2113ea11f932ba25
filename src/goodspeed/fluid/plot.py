"""The figure of the study: fluid paths, the beta sweep, drifting runs and their certificates. Needs matplotlib."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from goodspeed.fluid.study import StudyResult


def plot_study(result: StudyResult, path: Path) -> None:
    """Write the figure in the format of the file extension (.svg, .png, .pdf)."""
    figure = Figure(figsize=(11, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    _fluid(axes[0, 0], result)
    _convergence(axes[0, 1], result)
    _drifting_run(axes[1, 0], result)
    _tracking(axes[1, 1], result)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _fluid(axes: Axes, result: StudyResult) -> None:
    for start in result.starts:
        distances = np.linalg.norm(start.path.goodputs - result.optimum.goodputs, axis=1)
        axes.semilogy(start.path.times, distances, label=f"from {start.name}")
    times = result.starts[0].path.times
    axes.semilogy(times, result.starts[0].distances[0] * np.exp(-times), "k:", label="e^-t")
    axes.set(title="Fluid path", xlabel="t, in 1 / beta rounds", ylabel="|x(t) - x*|")
    axes.legend(fontsize="small")


def _convergence(axes: Axes, result: StudyResult) -> None:
    for name, points, marker in (("known", result.known, "o-"), ("estimated", result.estimated, "s--")):
        betas = [point.beta for point in points]
        axes.semilogx(
            betas, [point.far_probability for point in points], marker, label=f"|X(t) - x*|, acceptance {name}"
        )
        shares = [point.window_far_probability for point in points]
        axes.semilogx(betas, shares, marker, alpha=0.5, label=f"window's mean, acceptance {name}")
    axes.set(title="Theorems 1 and 4: probability of being far from x*", xlabel="beta", ylim=(-0.03, 1.03))
    axes.legend(fontsize="small")


def _drifting_run(axes: Axes, result: StudyResult) -> None:
    tracking = result.tracking[0]
    for run, (gaps, bounds) in enumerate(zip(tracking.plotted_gaps.T, tracking.plotted_certificates.T, strict=True)):
        (line,) = axes.plot(gaps, linewidth=0.8, label=f"run {run + 1}")
        axes.plot(bounds, "--", color=line.get_color())
    title = f"Drift {tracking.speed:g} per round, beta {tracking.beta:g}: gap, and its certificate (dashed)"
    axes.set(title=title, xlabel="round", ylabel="U*(t) - U(X(t))", ylim=(-1.0, 4.0))
    axes.legend(fontsize="small")


def _tracking(axes: Axes, result: StudyResult) -> None:
    labels = [f"beta {run.beta:g}\ndrift {run.speed:g}\nerror {run.error:g}" for run in result.tracking]
    positions = np.arange(len(labels))
    pairs = (
        ("largest gap of a run", [run.max_gap for run in result.tracking], "C0o"),
        ("certificate of a run, mean", [run.mean_certificate for run in result.tracking], "C0_"),
        ("largest mean gap", [run.max_mean_gap for run in result.tracking], "C1o"),
        ("certificate of the mean", [run.max_mean_bound for run in result.tracking], "C1_"),
        ("a-priori bound of the mean", [run.mean_limit for run in result.tracking], "C2_"),
    )
    for name, values, marker in pairs:
        axes.semilogy(positions, values, marker, markersize=8, label=name)
    axes.set_xticks(positions, labels, fontsize="small")
    axes.set(title="Tracking: measured gaps and bounds after the warm-up", ylabel="utility", ylim=(None, 200.0))
    axes.legend(fontsize="small", loc="upper right")
