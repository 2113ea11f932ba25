"""The scenes of the demo, in words: what was measured, and whether it shows what the scene claims."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.bench.comparison import BASELINE
from goodspeed.bench.report import ArmReport, Report
from goodspeed.demo.drafters import EQUAL, FAIR, GOODSPEED, RANDOM
from goodspeed.stats.summary import Spread, ratio, spread


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene: a line of result, further lines, and whether the claim has shown."""

    title: str
    result: str
    details: tuple[str, ...] = ()
    has_shown: bool | None = None
    """None: the scene claims nothing, or was measured once only."""


def target_alone(report: Report) -> Scene:
    """Scene 1: the clients with the target alone."""
    baseline = _arm(report, BASELINE)
    each = ", ".join(f"{name} {client.goodput.median:.1f}" for name, client in baseline.clients.items())
    return Scene(
        "Four unlike clients, the target alone",
        f"{_interval(baseline.total.goodput, 1)} tokens/s in all: {each}",
    )


def with_goodspeed(report: Report) -> Scene:
    """Scene 2: who gains from drafts, and why."""
    baseline, drafted = _arm(report, BASELINE), _arm(report, GOODSPEED)
    assert drafted.speed_up is not None
    return Scene(
        "The same with GoodSpeed",
        f"{_interval(drafted.speed_up, 2)} times the target alone",
        tuple(_gain(name, baseline, drafted) for name in drafted.clients),
        _has_shown(drafted.speed_up, 1.0),
    )


def scarce_verifier(report: Report) -> Scene:
    """Scene 3: a small budget, shared equally, at random, and by GoodSpeed.

    Compared by repetition, in which all have the same prompts: those of one are easier to draft than those of another.
    """
    arms = [_arm(report, name) for name in (EQUAL, RANDOM, FAIR)]
    *others, fair = [arm.sum_log_goodput for arm in arms]
    gains = [_difference(fair, other) for other in others]
    return Scene(
        "The verifier is scarce: one draft token per client and step",
        f"sum of log goodput {fair.median:.2f} with GoodSpeed: {_interval(gains[0], 2)} more than with an equal split, "
        f"{_interval(gains[1], 2)} more than with a random one",
        tuple(_shares(arm) for arm in arms),
        _has_shown(min(gains, key=lambda gain: gain.min), 0.0),
    )


def same_text(report: Report) -> Scene:
    """Scene 5: are the texts those of the target alone?"""
    compared = [arm for arm in report.arms if arm.num_differing_texts is not None]
    num_texts = sum(arm.total.num_answers for arm in compared)
    num_same = num_texts - report.num_differing_texts
    return Scene(
        "Is it the same text?",
        f"{num_same} of {num_texts} answers are identical to the target's own",
        has_shown=num_same == num_texts,
    )


def _arm(report: Report, name: str) -> ArmReport:
    return next(arm for arm in report.arms if arm.name == name)


def _gain(name: str, baseline: ArmReport, drafted: ArmReport) -> str:
    client = drafted.clients[name]
    gains = [
        ratio(with_drafts, alone)
        for with_drafts, alone in zip(client.goodput.values, baseline.clients[name].goodput.values, strict=True)
    ]
    modes = client.rounds_by_mode
    shares = {"remote": modes.remote, "co-located": modes.co_located, "target-only": modes.target_only}
    rounds = ", ".join(f"{100 * share:.0f}% {mode}" for mode, share in shares.items() if share >= 0.005)
    return f"{name}: {_interval(spread(gains), 2)} times; {client.mean_acceptance_length:.2f} tokens a round ({rounds})"


def _shares(arm: ArmReport) -> str:
    poorest = [min(goodputs) for goodputs in _by_repetition(arm)]
    shares = f"poorest client {_interval(spread(poorest), 1)} tokens/s, Jain's index {_interval(arm.jain_index, 3)}"
    return f"{arm.name}: {shares}"


def _difference(ours: Spread, theirs: Spread) -> Spread:
    return spread([our - their for our, their in zip(ours.values, theirs.values, strict=True)])


def _by_repetition(arm: ArmReport) -> Sequence[tuple[float, ...]]:
    return list(zip(*(client.goodput.values for client in arm.clients.values()), strict=True))


def _has_shown(measured: Spread, bound: float) -> bool | None:
    """Whether every repetition is above the bound; one repetition shows nothing."""
    return measured.min > bound if len(measured.values) > 1 else None


def _interval(measured: Spread, digits: int) -> str:
    """The median, and the range if there are several repetitions; a dash for what could not be measured."""
    median, lowest, highest = (
        f"{value:.{digits}f}" if math.isfinite(value) else "-"
        for value in (measured.median, measured.min, measured.max)
    )
    return median if len(measured.values) == 1 else f"{median} ({lowest} to {highest})"
