"""The arms of one set-up compared over seeds: utilities, wall time per token, fairness, goodput per second."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runs.live import measures
from runs.live.recording import Recording

from goodspeed.errors import ConfigError
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference, paired_ratio
from goodspeed.stats.summary import jain_index

Recordings = Mapping[str, Mapping[int, Recording]]
"""Of one set-up, by arm and seed."""


@dataclass(frozen=True, slots=True)
class ArmFigures:
    """One arm beside the baseline; every interval is over seeds, and `gain` and the ratios are paired by seed."""

    arm: str
    num_seeds: int
    utility: ConfidenceInterval  # sum of log mean goodput per round
    gain: ConfidenceInterval  # of utility
    wall_ms_per_token: ConfidenceInterval
    wall_ratio: ConfidenceInterval  # geometric mean
    jain_index: ConfidenceInterval
    efficiency: ConfidenceInterval  # committed tokens per verified draft token and target's own token


@dataclass(frozen=True, slots=True)
class RateFigures:
    """One arm's goodput per second beside the baseline's."""

    arm: str
    num_seeds: int
    geometric_mean: ConfidenceInterval  # tokens per second, over clients
    ratio: ConfidenceInterval
    clients: dict[str, ConfidenceInterval]  # each client's ratio
    jain_index: ConfidenceInterval


def compare_rounds(recordings: Recordings, baseline: str, num_rounds: int) -> list[ArmFigures]:
    """Every arm over the seeds that it shares with the baseline."""
    return [_rounds(arm, recordings, baseline, num_rounds) for arm in recordings]


def compare_rates(recordings: Recordings, baseline: str, from_s: float, until_s: float) -> list[RateFigures]:
    """Goodput between two times of the runs, every arm over the seeds that it shares with the baseline."""
    return [_rates(arm, recordings, baseline, from_s, until_s) for arm in recordings]


def shared_seeds(recordings: Recordings, arm: str, baseline: str) -> list[int]:
    """Raises ConfigError if there are none."""
    seeds = sorted(set(recordings[arm]) & set(recordings.get(baseline, {})))
    if not seeds:
        raise ConfigError(f"{arm} and {baseline} have no seed in common")
    return seeds


def _rounds(arm: str, recordings: Recordings, baseline: str, num_rounds: int) -> ArmFigures:
    seeds = shared_seeds(recordings, arm, baseline)

    def values(of: str, figure: Callable[[Recording], float]) -> list[float]:
        return [figure(recordings[of][seed]) for seed in seeds]

    def utility(recording: Recording) -> float:
        return measures.utility(recording, num_rounds)

    def wall_ms(recording: Recording) -> float:
        return 1e3 * measures.wall_s_per_token(recording)

    return ArmFigures(
        arm=arm,
        num_seeds=len(seeds),
        utility=interval(values(arm, utility)),
        gain=paired_difference(values(arm, utility), values(baseline, utility)),
        wall_ms_per_token=interval(values(arm, wall_ms)),
        wall_ratio=paired_ratio(values(arm, wall_ms), values(baseline, wall_ms)),
        jain_index=interval(values(arm, lambda recording: measures.fairness(recording, num_rounds))),
        efficiency=interval(values(arm, measures.efficiency)),
    )


def _rates(arm: str, recordings: Recordings, baseline: str, from_s: float, until_s: float) -> RateFigures:
    seeds = shared_seeds(recordings, arm, baseline)
    mine, theirs = ([_rates_of(recordings[of][seed], from_s, until_s) for seed in seeds] for of in (arm, baseline))
    means, their_means = ([_geometric_mean(list(rates.values())) for rates in of] for of in (mine, theirs))
    return RateFigures(
        arm=arm,
        num_seeds=len(seeds),
        geometric_mean=interval(means),
        ratio=paired_ratio(means, their_means),
        clients={
            name: paired_ratio([rates[name] for rates in mine], [rates[name] for rates in theirs]) for name in mine[0]
        },
        jain_index=interval([jain_index(list(rates.values())) for rates in mine]),
    )


def _rates_of(recording: Recording, from_s: float, until_s: float) -> dict[str, float]:
    return {client.name: measures.per_second(client, from_s, until_s) for client in recording.clients}


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
