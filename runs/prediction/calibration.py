"""Calibration of host times on this machine, from set-ups that are not predicted.

Measured as CPU time: the verifier's process without its engine, per step and per round (two numbers from set-ups with
different numbers of rounds per step); the drafters per round, on loopback and on an emulated link; the load generator.
Two numbers are fitted so that the simulated means equal the live ones: the wake-up time of a process, to the time from
verdict to proposal, and the time of a request before its first token. Nothing is fitted to step times.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import msgspec
import numpy as np
from runs.prediction.live_setup import LiveRun
from runs.prediction.served_answer import Repetition, served_metrics
from runs.prediction.setups import PredictionSetup
from runs.prediction.simulated_setup import OWN, Models, simulated_repetition
from runs.prediction.step_statistics import StepStatistics

from goodspeed.simulator.machine import MachineConfig
from goodspeed.stats.summary import ratio

TIMER_S = 0.001
"""asyncio rounds waits up to whole milliseconds."""
COLD_CACHE_PENALTY = 0.12
"""Measured with neighbours that take turns with a step (`python -m runs.noisy_neighbours`)."""
NUM_WAKE_UPS = 3
"""From verdict to proposal: the verifier sends, the drafter wakes, the verifier receives."""
NUM_ROUNDS = 10
DAMPING = 0.6
"""Share of the difference that is corrected in each round; the numbers influence each other."""

CalibrationRuns = Sequence[tuple[PredictionSetup, LiveRun]]


@dataclass(frozen=True, slots=True)
class CalibrationMeans:
    """Means over the calibration runs, to which the machine is fitted."""

    mean_network_s: float  # from a verdict to the next proposal, without drafting
    ttft_s: float


class CalibrationFit(msgspec.Struct):
    """The fitted machine, and the live and simulated means."""

    machine: MachineConfig
    live: CalibrationMeans
    simulated: CalibrationMeans


def calibrate(runs: CalibrationRuns, unfitted: Models) -> CalibrationFit:
    """Fit by damped fixed-point iteration: each number mainly moves its own mean. Returns the best round."""
    live = _means([(run.statistics, run.repetitions) for _, run in runs])
    machine = _measured(runs)
    fits = []
    for _ in range(NUM_ROUNDS):
        simulated = _simulated(runs, replace(unfitted, machine=machine))
        fits.append(CalibrationFit(machine, live, simulated))
        machine = _corrected(machine, live, simulated)
    return min(fits, key=_distance)


def _distance(fit: CalibrationFit) -> float:
    pairs = zip(astuple(fit.live), astuple(fit.simulated), strict=True)
    return max(abs(math.log(simulated / live)) for live, simulated in pairs)


def _measured(runs_measured: CalibrationRuns) -> MachineConfig:
    """The measured times. Half of a drafter's time falls after its proposal (docs/measurements/prediction.md)."""
    runs = [run for _, run in runs_measured]
    linked = [run for setup, run in runs_measured if any(setup.link.rtts_ms)]
    frame_s, batch_s = _verifier_s(runs)
    drafter_s = _drafter_s([run for run in runs if run not in linked])
    return MachineConfig(
        cores=runs[0].num_cores,
        engine_threads=runs[0].num_cores,
        cold_cache_penalty=COLD_CACHE_PENALTY,
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
    """CPU time of the verifier's host per round and per step, by least squares."""
    counts = np.array([[run.num_rounds, len(run.steps)] for run in runs])
    (frame_s, batch_s), *_ = np.linalg.lstsq(counts, np.array([run.host.verifier for run in runs]))
    return max(0.0, float(frame_s)), max(0.0, float(batch_s))


def _drafter_s(runs: Sequence[LiveRun]) -> float:
    """CPU time of drafters per round, without drafting."""
    host_s = sum(run.host.drafters - sum(run.drafting_s) for run in runs)
    return max(0.0, ratio(host_s, sum(run.num_rounds for run in runs)))


def _corrected(machine: MachineConfig, live: CalibrationMeans, simulated: CalibrationMeans) -> MachineConfig:
    return replace(
        machine,
        idle_penalty_s=max(
            0.0, machine.idle_penalty_s + DAMPING * (live.mean_network_s - simulated.mean_network_s) / NUM_WAKE_UPS
        ),
        request_s=max(0.0, machine.request_s + DAMPING * (live.ttft_s - simulated.ttft_s)),
    )


def _simulated(runs: CalibrationRuns, models: Models) -> CalibrationMeans:
    """Simulate the calibration runs with their own acceptance."""
    runs_seen = []
    for setup, live in runs:
        statistics = StepStatistics()
        repetitions = [
            simulated_repetition(setup, live, models, (number, OWN, number), statistics)
            for number in range(setup.repetitions)
        ]
        runs_seen.append((statistics, repetitions))
    return _means(runs_seen)


def _means(runs_seen: Sequence[tuple[StepStatistics, Sequence[Repetition]]]) -> CalibrationMeans:
    """The mean over runs with equal weights."""
    num = len(runs_seen)
    return CalibrationMeans(
        mean_network_s=sum(statistics.mean_network_s for statistics, _ in runs_seen) / num,
        ttft_s=sum(served_metrics(repetitions).ttft_mean_s for _, repetitions in runs_seen) / num,
    )
