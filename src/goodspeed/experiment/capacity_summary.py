"""The results of a capacity search: by arm the clients served, what limits them, and the comparison with the first arm.

Goodput here is that of the answers' time, thinking excluded: what a user sees. A client's few answers in a run say
little, so the poorest *tier* is reported: the geometric mean over its clients and all seeds, paired by client and seed.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from goodspeed.experiment.capacity import CapacityOutcome, Probe, attainment_of
from goodspeed.experiment.capacity_search import SearchResult
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.served_run import ServedAnswer, ServedRun
from goodspeed.experiment.slo import LATENCIES, Slo
from goodspeed.stats.intervals import ConfidenceInterval, interval, paired_ratio
from goodspeed.stats.summary import jain_index, sum_log

FULL_MEMORY = 0.95
"""Share of the KV memory from which on a late first token is put down to memory."""
FAILED, MEMORY, NOTHING = "failed requests", "memory", "nothing: all numbers of clients are served"


@dataclass(frozen=True, slots=True)
class Binding:
    """What the first failing numbers of clients break."""

    constraint: str  # title of a latency, MEMORY, FAILED or NOTHING
    poorest_tier: str  # the tier with the largest share of answers that break it; empty: nothing is broken
    is_poorest_alone: bool  # without this tier the SLO would be attained


@dataclass(frozen=True, slots=True)
class LoadMetrics:
    """An arm with as many clients as it serves: means over seeds."""

    tokens_per_s: float  # all clients
    geometric_mean: float  # of the clients' goodputs, tokens per second of their answers' time
    jain_index: float  # of the clients' goodputs
    good_share: float
    utilisation: float
    peak_memory: float


@dataclass(frozen=True, slots=True)
class BesideFirst:
    """An arm beside the first one."""

    clients: ConfidenceInterval | None  # ratio of the clients served; None: this arm serves none under some seed
    geometric_mean: float  # ratio of goodputs at the number of clients that the first arm serves
    poorest_tier: str
    poorest: float  # lowest ratio of a tier's goodput at that number
    poorest_at_own: float | None  # the same with each arm's own number of clients; None as for `clients`


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """All simulations of an arm with one number of clients."""

    num_clients: int
    num_seeds: int
    good_share: float  # mean over seeds
    lowest: float
    highest: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class ArmCapacity:
    """The results of one arm."""

    name: str
    settings: dict[str, Any]
    clients: ConfidenceInterval  # served, over seeds
    by_seed: dict[int, SearchResult]
    is_at_max: bool  # some seed serves the highest number of clients that is tried: the capacity is at least that
    binding: Binding
    at_capacity: LoadMetrics | None  # None: some seed serves none
    beside_first: BesideFirst | None  # None: the first arm serves none under some seed
    curve: tuple[CurvePoint, ...]


def summarise_capacity(outcome: CapacityOutcome, names: Mapping[GridCell, str]) -> list[ArmCapacity]:
    """The results of all arms, in order."""
    return [_arm_capacity(outcome, arm, names[arm]) for arm in outcome.plan.arms]


def _arm_capacity(outcome: CapacityOutcome, arm: GridCell, name: str) -> ArmCapacity:
    results = outcome.results[arm]
    served = {seed: result.num_clients for seed, result in results.items()}
    own = _runs(outcome, arm, served)
    return ArmCapacity(
        name=name,
        settings=dict(arm.settings),
        clients=interval(list(served.values())),
        by_seed=dict(results),
        is_at_max=any(result.first_failing is None for result in results.values()),
        binding=_binding(outcome, arm),
        at_capacity=_load_metrics(own, outcome.plan.slo) if own else None,
        beside_first=_beside_first(outcome, arm, served),
        curve=tuple(_curve(outcome, arm)),
    )


def _runs(outcome: CapacityOutcome, arm: GridCell, clients: Mapping[int, int]) -> list[ServedRun]:
    """The runs of an arm by seed with these numbers of clients; none if one of the numbers is 0."""
    return [outcome.runs[Probe(arm, num, seed)] for seed, num in clients.items()] if all(clients.values()) else []


def _binding(outcome: CapacityOutcome, arm: GridCell) -> Binding:
    failing = [
        outcome.runs[Probe(arm, result.first_failing, seed)]
        for seed, result in outcome.results[arm].items()
        if result.first_failing is not None
    ]
    if not failing:
        return Binding(NOTHING, "", False)
    slo = outcome.plan.slo
    answers = [answer for run in failing for answer in slo.counted(run)]
    num_failed = sum(run.num_failed for run in failing)
    found = slo.attainment(answers, num_failed)
    worst = min(slo.objectives, key=lambda one: found.kept_shares[one.name] - (one.quantile or slo.share))
    constraint = LATENCIES[worst.latency][0]
    if found.failed_share > 0.5 * (1.0 - found.kept_shares[worst.name]):
        constraint = FAILED
    elif worst.latency == "ttft" and fmean(run.peak_memory for run in failing) >= FULL_MEMORY:
        constraint = MEMORY
    tiers = _by_tier(answers)
    poorest = min(tiers, key=lambda tier: fmean(map(worst.is_kept, tiers[tier]))) if tiers else ""
    rest = [answer for answer in answers if answer.tier != poorest]
    return Binding(constraint, poorest, len(tiers) > 1 and slo.attainment(rest, num_failed).is_attained)


def _by_tier(answers: Iterable[ServedAnswer]) -> dict[str, list[ServedAnswer]]:
    tiers: dict[str, list[ServedAnswer]] = {}
    for answer in answers:
        tiers.setdefault(answer.tier, []).append(answer)
    return tiers


def _load_metrics(runs: Sequence[ServedRun], slo: Slo) -> LoadMetrics:
    goodputs = [list(run.goodputs().values()) for run in runs]
    return LoadMetrics(
        tokens_per_s=fmean(run.metrics.values["goodput"] for run in runs),
        geometric_mean=math.exp(fmean(sum_log(found) / len(found) for found in goodputs)),
        jain_index=fmean(map(jain_index, goodputs)),
        good_share=fmean(attainment_of(run, slo).good_share for run in runs),
        utilisation=fmean(run.metrics.values["utilisation"] for run in runs),
        peak_memory=fmean(run.peak_memory for run in runs),
    )


def _beside_first(outcome: CapacityOutcome, arm: GridCell, served: Mapping[int, int]) -> BesideFirst | None:
    first = next(iter(outcome.plan.arms))
    base_served = {seed: result.num_clients for seed, result in outcome.results[first].items()}
    base = _runs(outcome, first, base_served)
    if not base:
        return None
    own, tiers = _runs(outcome, arm, served), _log_ratios(_runs(outcome, arm, base_served), base)
    poorest = min(tiers, key=lambda tier: fmean(tiers[tier]))
    return BesideFirst(
        clients=paired_ratio(list(served.values()), list(base_served.values())) if own else None,
        geometric_mean=math.exp(fmean(log for logs in tiers.values() for log in logs)),
        poorest_tier=poorest,
        poorest=math.exp(fmean(tiers[poorest])),
        poorest_at_own=math.exp(min(map(fmean, _log_ratios(own, base).values()))) if own else None,
    )


def _log_ratios(runs: Sequence[ServedRun], base: Sequence[ServedRun]) -> dict[str, list[float]]:
    """By tier the logarithms of its clients' goodputs beside those of the same clients in the base, seed by seed."""
    tiers: dict[str, list[float]] = {}
    for run, other in zip(runs, base, strict=True):
        goodputs = other.goodputs()
        for client, value in run.goodputs().items():
            if client in goodputs:
                tiers.setdefault(client.rpartition("-")[0], []).append(math.log(value / goodputs[client]))
    return tiers


def _curve(outcome: CapacityOutcome, arm: GridCell) -> Iterable[CurvePoint]:
    runs: dict[int, list[ServedRun]] = {}
    for probe, run in outcome.runs.items():
        if probe.arm == arm:
            runs.setdefault(probe.num_clients, []).append(run)
    for num_clients, found in sorted(runs.items()):
        shares = [attainment_of(run, outcome.plan.slo).good_share for run in found]
        tokens_per_s = fmean(run.metrics.values["goodput"] for run in found)
        yield CurvePoint(num_clients, len(found), fmean(shares), min(shares), max(shares), tokens_per_s)
