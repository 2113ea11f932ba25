"""One set-up: live beside simulated."""

import dataclasses
from collections.abc import Sequence

import msgspec
from runs.prediction.live import LiveRun
from runs.prediction.served import Figures, figures, mean_figures
from runs.prediction.setups import Setup
from runs.prediction.simulated import Models, Variant, simulated_repetition
from runs.prediction.watch import Watch


class Means(msgspec.Struct):
    """Where the time goes, to see what a wrong prediction is wrong about."""

    streams_per_step: float
    step_s: float
    gap_s: float


class Predicted(msgspec.Struct):
    """A variant's figures over all repetitions and seeds."""

    variant: str
    figures: Figures
    means: Means


class Outcome(msgspec.Struct):
    """A set-up's figures, and their range over repetitions where they were measured."""

    setup: str
    live: Figures
    live_means: Means
    goodputs: list[float]  # of each live repetition
    predicted: list[Predicted]


def outcome(setup: Setup, live: LiveRun, models: Models, plan: tuple[Sequence[Variant], int]) -> Outcome:
    """With so many seeds per repetition."""
    variants, num_seeds = plan
    return Outcome(
        setup.name,
        figures(live.repetitions),
        means_of(live.watch),
        [figures([repetition]).goodput for repetition in live.repetitions],
        [_predicted(setup, live, models, variant, num_seeds) for variant in variants],
    )


def means_of(watch: Watch) -> Means:
    return Means(watch.streams_per_step, watch.step_s, watch.gap_s)


def _predicted(setup: Setup, live: LiveRun, models: Models, variant: Variant, num_seeds: int) -> Predicted:
    """Every seed has as many answers as there were live: a far quantile of more answers would be another figure."""
    watch = Watch()
    by_seed = [
        figures(
            [
                simulated_repetition(setup, live, models, (repetition, variant, seed), None if seed else watch)
                for repetition in range(setup.repetitions)
            ]
        )
        for seed in range(num_seeds)
    ]
    return Predicted(variant.name, mean_figures(by_seed), means_of(watch))


def error(predicted: float, live: float) -> float:
    """Relative."""
    return predicted / live - 1.0


def is_within(one: Figures, live: Figures) -> bool:
    """The issue's bounds: goodput 10%, time per token 10% at p50 and 25% at p99."""
    bounds = {"goodput": 0.10, "tpot_p50_s": 0.10, "tpot_p99_s": 0.25}
    mine, theirs = dataclasses.asdict(one), dataclasses.asdict(live)
    return all(abs(error(mine[name], theirs[name])) <= bound for name, bound in bounds.items())
