"""Comparison of the arms of one set-up over seeds: utility, wall time per token, fairness, goodput per second."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runs.live import run_metrics
from runs.live.run_log import RunLog

from goodspeed.errors import ConfigError
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_difference, paired_ratio
from goodspeed.stats.summary import jain_index

RunLogs = Mapping[str, Mapping[int, RunLog]]
"""Run logs of one set-up, by arm and seed."""


@dataclass(frozen=True, slots=True)
class ArmRoundMetrics:
    """One arm relative to the baseline. Intervals are over seeds; `gain` and the ratios are paired by seed."""

    arm: str
    num_seeds: int
    utility: ConfidenceInterval  # sum of log mean goodput per round
    gain: ConfidenceInterval  # of utility
    wall_ms_per_token: ConfidenceInterval
    wall_ratio: ConfidenceInterval  # geometric mean
    jain_index: ConfidenceInterval
    efficiency: ConfidenceInterval  # committed tokens / (verified draft tokens + one per round)


@dataclass(frozen=True, slots=True)
class ArmRateMetrics:
    """One arm's goodput per second relative to the baseline."""

    arm: str
    num_seeds: int
    geometric_mean: ConfidenceInterval  # tokens per second, over clients
    ratio: ConfidenceInterval
    clients: dict[str, ConfidenceInterval]  # each client's ratio
    jain_index: ConfidenceInterval


def compare_rounds(run_logs: RunLogs, baseline: str, num_rounds: int) -> list[ArmRoundMetrics]:
    """Metrics of every arm over the seeds that it shares with the baseline. Raises ConfigError if there are none."""
    return [_rounds(arm, run_logs, baseline, num_rounds) for arm in run_logs]


def compare_rates(run_logs: RunLogs, baseline: str, from_s: float, until_s: float) -> list[ArmRateMetrics]:
    """Goodput between two times of the runs, for every arm over the seeds that it shares with the baseline."""
    return [_rates(arm, run_logs, baseline, from_s, until_s) for arm in run_logs]


def shared_seeds(run_logs: RunLogs, arm: str, baseline: str) -> list[int]:
    """The seeds that both arms have. Raises ConfigError if there are none."""
    seeds = sorted(set(run_logs[arm]) & set(run_logs.get(baseline, {})))
    if not seeds:
        raise ConfigError(f"{arm} and {baseline} have no seed in common")
    return seeds


def _rounds(arm: str, run_logs: RunLogs, baseline: str, num_rounds: int) -> ArmRoundMetrics:
    seeds = shared_seeds(run_logs, arm, baseline)

    def values(of_arm: str, metric: Callable[[RunLog], float]) -> list[float]:
        return [metric(run_logs[of_arm][seed]) for seed in seeds]

    def utility(run_log: RunLog) -> float:
        return run_metrics.utility(run_log, num_rounds)

    def wall_ms(run_log: RunLog) -> float:
        return 1e3 * run_metrics.wall_s_per_token(run_log)

    return ArmRoundMetrics(
        arm=arm,
        num_seeds=len(seeds),
        utility=interval(values(arm, utility)),
        gain=paired_difference(values(arm, utility), values(baseline, utility)),
        wall_ms_per_token=interval(values(arm, wall_ms)),
        wall_ratio=paired_ratio(values(arm, wall_ms), values(baseline, wall_ms)),
        jain_index=interval(values(arm, lambda run_log: run_metrics.fairness(run_log, num_rounds))),
        efficiency=interval(values(arm, run_metrics.efficiency)),
    )


def _rates(arm: str, run_logs: RunLogs, baseline: str, from_s: float, until_s: float) -> ArmRateMetrics:
    seeds = shared_seeds(run_logs, arm, baseline)
    arm_rates, baseline_rates = (
        [_rates_of(run_logs[of_arm][seed], from_s, until_s) for seed in seeds] for of_arm in (arm, baseline)
    )
    means, baseline_means = (
        [_geometric_mean(list(rates.values())) for rates in of_arm] for of_arm in (arm_rates, baseline_rates)
    )
    return ArmRateMetrics(
        arm=arm,
        num_seeds=len(seeds),
        geometric_mean=interval(means),
        ratio=paired_ratio(means, baseline_means),
        clients={
            name: paired_ratio([rates[name] for rates in arm_rates], [rates[name] for rates in baseline_rates])
            for name in arm_rates[0]
        },
        jain_index=interval([jain_index(list(rates.values())) for rates in arm_rates]),
    )


def _rates_of(run_log: RunLog, from_s: float, until_s: float) -> dict[str, float]:
    return {client.name: run_metrics.per_second(client, from_s, until_s) for client in run_log.clients}


def _geometric_mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
