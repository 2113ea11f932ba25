"""What hosts take on this machine, from set-ups that are not predicted: some of it measured, three numbers fitted.

Measured: CPU time of the verifier's process without its engine, of the drafters, of the load generator, per round.
Fitted, so that the simulated calibration runs have the live ones' means: how much slower steps are than the table says
(beyond what pauses and sharing cores explain), how long it takes to wake a process, from the time between verdict and
proposal, and what a request costs before its first token.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, replace

import msgspec
from runs.prediction.live import LiveRun
from runs.prediction.served import Repetition, figures
from runs.prediction.setups import Setup
from runs.prediction.simulated import OWN, Models, simulated_repetition
from runs.prediction.watch import Watch

from goodspeed.bench.stats import ratio
from goodspeed.simulator.latency.base import LatencyModel
from goodspeed.simulator.latency.table import TableConfig
from goodspeed.simulator.machine import MachineConfig

TIMER_S = 0.0005
"""asyncio waits for whole milliseconds, rounded up: half of one on average."""
WAKINGS = 3
"""From verdict to proposal: the verifier to send, the drafter, the verifier to receive."""
NUM_ROUNDS = 10
STEP = 0.6
"""Of what is missing, in each round: what one number takes from the cores the others feel."""
LEAST_FACTOR = 0.5

Calibrating = Sequence[tuple[Setup, LiveRun]]


@dataclass(frozen=True, slots=True)
class Means:
    """Of the calibration runs together: what is fitted to."""

    slowness: float  # of steps, as a multiple of the table
    gap_s: float  # from a verdict to the next proposal, drafting left out
    ttft_s: float


class Fit(msgspec.Struct):
    """The machine as it came out, and how well the fitted means agree."""

    machine: MachineConfig
    live: Means
    simulated: Means


def calibrate(runs: Calibrating, unfitted: Models) -> Fit:
    """Damped fixed-point iteration, each of the three numbers mainly moves its own mean; the best of all rounds."""
    latency = TableConfig(str(unfitted.tables), "target").model()
    live = _means([(run.watch, run.repetitions) for _, run in runs], latency)
    machine = _measured([run for _, run in runs])
    fits = []
    for _ in range(NUM_ROUNDS):
        simulated = _simulated(runs, replace(unfitted, machine=machine), latency)
        fits.append(Fit(machine, live, simulated))
        machine = _moved(machine, live, simulated)
    return min(fits, key=_distance)


def _distance(fit: Fit) -> float:
    pairs = zip(astuple(fit.live), astuple(fit.simulated), strict=True)
    return max(abs(math.log(simulated / live)) for live, simulated in pairs)


def _measured(runs: Sequence[LiveRun]) -> MachineConfig:
    """What is known without fitting. Half of a drafter's time is spent when it has answered (docs/prediction.md)."""
    num_rounds = sum(run.num_rounds for run in runs)

    def per_round(seconds: Callable[[LiveRun], float]) -> float:
        return max(0.0, ratio(sum(map(seconds, runs)), num_rounds))

    verifier_s = per_round(lambda run: run.host.verifier)
    drafter_s = per_round(lambda run: run.host.drafters - sum(run.drafting_s))
    return MachineConfig(
        cores=runs[0].num_cores,
        engine_threads=runs[0].num_cores,
        receive_s=verifier_s / 2,
        send_s=verifier_s / 2,
        answer_s=drafter_s / 2,
        tell_s=drafter_s / 2,
        read_s=per_round(lambda run: run.host.load),
        timer_s=TIMER_S,
    )


def _moved(machine: MachineConfig, live: Means, simulated: Means) -> MachineConfig:
    return replace(
        machine,
        step_factor=max(LEAST_FACTOR, machine.step_factor * (live.slowness / simulated.slowness) ** STEP),
        wake_s=max(0.0, machine.wake_s + STEP * (live.gap_s - simulated.gap_s) / WAKINGS),
        ask_s=max(0.0, machine.ask_s + STEP * (live.ttft_s - simulated.ttft_s)),
    )


def _simulated(runs: Calibrating, models: Models, latency: LatencyModel) -> Means:
    """With their own acceptance: it is not what is fitted."""
    seen = []
    for setup, live in runs:
        watch = Watch()
        repetitions = [
            simulated_repetition(setup, live, models, (number, OWN, number), watch)
            for number in range(setup.repetitions)
        ]
        seen.append((watch, repetitions))
    return _means(seen, latency)


def _means(seen: Sequence[tuple[Watch, Sequence[Repetition]]], latency: LatencyModel) -> Means:
    """Every run counts alike."""
    num = len(seen)
    return Means(
        slowness=sum(watch.slowness(latency) for watch, _ in seen) / num,
        gap_s=sum(watch.gap_s for watch, _ in seen) / num,
        ttft_s=sum(figures(repetitions).ttft_mean_s for _, repetitions in seen) / num,
    )
