"""The prediction of one set-up, compared with the live run."""

import dataclasses
from collections.abc import Sequence

import msgspec
from runs.prediction.live_setup import LiveRun
from runs.prediction.served_answer import ServedMetrics, mean_metrics, served_metrics
from runs.prediction.setups import PredictionSetup
from runs.prediction.simulated_setup import Models, Variant, simulated_repetition
from runs.prediction.step_statistics import StepStatistics


class TimingMeans(msgspec.Struct):
    """Mean times, which show the cause of a prediction error."""

    streams_per_step: float
    step_s: float
    mean_network_s: float


class Predicted(msgspec.Struct):
    """A variant's metrics over all repetitions and seeds."""

    variant: str
    metrics: ServedMetrics
    means: TimingMeans


class PredictionOutcome(msgspec.Struct):
    """A set-up's metrics: live, with the goodput of each repetition, and predicted."""

    setup: str
    live: ServedMetrics
    live_means: TimingMeans
    goodputs: list[float]  # of each live repetition
    predicted: list[Predicted]


def predict(
    setup: PredictionSetup, live: LiveRun, models: Models, plan: tuple[Sequence[Variant], int]
) -> PredictionOutcome:
    """Simulate a set-up. `plan` has the variants and the number of seeds per repetition."""
    variants, num_seeds = plan
    return PredictionOutcome(
        setup.name,
        served_metrics(live.repetitions),
        timing_means(live.statistics),
        [served_metrics([repetition]).goodput for repetition in live.repetitions],
        [_predicted(setup, live, models, variant, num_seeds) for variant in variants],
    )


def timing_means(statistics: StepStatistics) -> TimingMeans:
    return TimingMeans(statistics.streams_per_step, statistics.step_s, statistics.mean_network_s)


def _predicted(setup: PredictionSetup, live: LiveRun, models: Models, variant: Variant, num_seeds: int) -> Predicted:
    """Each seed has as many answers as the live run, because a high quantile depends on the number of answers."""
    statistics = StepStatistics()
    by_seed = [
        served_metrics(
            [
                simulated_repetition(setup, live, models, (repetition, variant, seed), None if seed else statistics)
                for repetition in range(setup.repetitions)
            ]
        )
        for seed in range(num_seeds)
    ]
    return Predicted(variant.name, mean_metrics(by_seed), timing_means(statistics))


def error(predicted: float, live: float) -> float:
    """Relative error."""
    return predicted / live - 1.0


def is_within(prediction: ServedMetrics, live: ServedMetrics) -> bool:
    """True within the bounds: goodput 10%, time per token 10% at p50 and 25% at p99."""
    bounds = {"goodput": 0.10, "tpot_p50_s": 0.10, "tpot_p99_s": 0.25}
    predicted, measured = dataclasses.asdict(prediction), dataclasses.asdict(live)
    return all(abs(error(predicted[name], measured[name])) <= bound for name, bound in bounds.items())
