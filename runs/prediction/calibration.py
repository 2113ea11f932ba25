"""What hosts take on this machine, from set-ups that are not predicted: most of it measured, two numbers fitted.

Measured, as CPU time: of the verifier's process without its engine, per step and per round (two numbers from set-ups
that differ in rounds a step); of the drafters, per round, on loopback and more on an emulated link; of the load
generator. Fitted, so that the simulated calibration runs have the live ones' means: how long it takes to wake a
process, from the time between verdict and proposal, and what a request costs before its first token. Nothing is fitted
to the time of steps.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import msgspec
import numpy as np
from runs.prediction.live import LiveRun
from runs.prediction.served import Repetition, figures
from runs.prediction.setups import Setup
from runs.prediction.simulated import OWN, Models, simulated_repetition
from runs.prediction.watch import Watch

from goodspeed.simulator.machine import MachineConfig
from goodspeed.stats.summary import ratio

TIMER_S = 0.001
"""asyncio waits for whole milliseconds, rounded up."""
CHILL = 0.12
"""Measured beside neighbours that take turns with a step (`python -m runs.step_neighbours`)."""
WAKINGS = 3
"""From verdict to proposal: the verifier to send, the drafter, the verifier to receive."""
NUM_ROUNDS = 10
STEP = 0.6
"""Of what is missing, in each round: what one number takes from the cores the others feel."""

Calibrating = Sequence[tuple[Setup, LiveRun]]


@dataclass(frozen=True, slots=True)
class Means:
    """Of the calibration runs together: what is fitted to."""

    gap_s: float  # from a verdict to the next proposal, drafting left out
    ttft_s: float


class Fit(msgspec.Struct):
    """The machine as it came out, and how well the fitted means agree."""

    machine: MachineConfig
    live: Means
    simulated: Means


def calibrate(runs: Calibrating, unfitted: Models) -> Fit:
    """Damped fixed-point iteration, each of the two numbers mainly moves its own mean; the best of all rounds."""
    live = _means([(run.watch, run.repetitions) for _, run in runs])
    machine = _measured(runs)
    fits = []
    for _ in range(NUM_ROUNDS):
        simulated = _simulated(runs, replace(unfitted, machine=machine))
        fits.append(Fit(machine, live, simulated))
        machine = _moved(machine, live, simulated)
    return min(fits, key=_distance)


def _distance(fit: Fit) -> float:
    pairs = zip(astuple(fit.live), astuple(fit.simulated), strict=True)
    return max(abs(math.log(simulated / live)) for live, simulated in pairs)


def _measured(calibrating: Calibrating) -> MachineConfig:
    """What is known without fitting. Half of a drafter's time is spent when it has answered (docs/prediction.md)."""
    runs = [run for _, run in calibrating]
    linked = [run for setup, run in calibrating if any(setup.link.rtts_ms)]
    frame_s, batch_s = _verifier_s(runs)
    drafter_s = _drafter_s([run for run in runs if run not in linked])
    return MachineConfig(
        cores=runs[0].num_cores,
        engine_threads=runs[0].num_cores,
        cold_cache_penalty=CHILL,
        batch_s=batch_s / 2,
        receive_s=frame_s / 2,
        send_s=frame_s / 2,
        reply_s=drafter_s / 2,
        deliver_s=drafter_s / 2,
        link_s=max(0.0, _drafter_s(linked) - drafter_s) / 2,
        read_s=ratio(sum(run.host.load for run in runs), sum(run.num_rounds for run in runs)),
        timer_s=TIMER_S,
    )


def _verifier_s(runs: Sequence[LiveRun]) -> tuple[float, float]:
    """CPU time of the verifier's host per round, and per step: least squares."""
    counts = np.array([[run.num_rounds, len(run.steps)] for run in runs])
    (frame_s, batch_s), *_ = np.linalg.lstsq(counts, np.array([run.host.verifier for run in runs]))
    return max(0.0, float(frame_s)), max(0.0, float(batch_s))


def _drafter_s(runs: Sequence[LiveRun]) -> float:
    """CPU time of drafters per round, drafting left out."""
    host_s = sum(run.host.drafters - sum(run.drafting_s) for run in runs)
    return max(0.0, ratio(host_s, sum(run.num_rounds for run in runs)))


def _moved(machine: MachineConfig, live: Means, simulated: Means) -> MachineConfig:
    return replace(
        machine,
        idle_penalty_s=max(0.0, machine.idle_penalty_s + STEP * (live.gap_s - simulated.gap_s) / WAKINGS),
        request_s=max(0.0, machine.request_s + STEP * (live.ttft_s - simulated.ttft_s)),
    )


def _simulated(runs: Calibrating, models: Models) -> Means:
    """With their own acceptance: it is not what is fitted."""
    seen = []
    for setup, live in runs:
        watch = Watch()
        repetitions = [
            simulated_repetition(setup, live, models, (number, OWN, number), watch)
            for number in range(setup.repetitions)
        ]
        seen.append((watch, repetitions))
    return _means(seen)


def _means(seen: Sequence[tuple[Watch, Sequence[Repetition]]]) -> Means:
    """Every run counts alike."""
    num = len(seen)
    return Means(
        gap_s=sum(watch.gap_s for watch, _ in seen) / num,
        ttft_s=sum(figures(repetitions).ttft_mean_s for _, repetitions in seen) / num,
    )
