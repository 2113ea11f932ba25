"""How many clients a scenario's verifiers serve within an SLO: the plan, its simulations, and the searches of all arms.

Every arm is searched under every seed, and all arms see the same clients under a seed. The first arm's first search
starts at the scenario's own number of clients; later searches start from what is known.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from goodspeed.experiment.capacity_search import CapacitySearch, SearchResult, client_counts, steps_of_doubling
from goodspeed.experiment.cell_folder import CellFolder
from goodspeed.experiment.client_mix import check_scalable, with_clients
from goodspeed.experiment.executor import Executor
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.replication import Measure
from goodspeed.experiment.served_run import ServedRun, served_run
from goodspeed.experiment.slo import Attainment, Slo
from goodspeed.experiment.sweep import SweepTask, completed
from goodspeed.experiment.warm_up import WarmUp
from goodspeed.simulator.scenario import Scenario

CLIENTS = "clients"
"""Name of the setting of a stored replication that is its number of clients."""


@dataclass(frozen=True, slots=True)
class CapacityPlan:
    """What is searched. Raises ConfigError if a scenario cannot have other numbers of clients."""

    arms: Mapping[GridCell, Scenario]  # the first one is what the others are compared with
    seeds: Sequence[int]
    slo: Slo
    max_clients: int
    resolution: float  # relative distance of the numbers of clients that are tried

    def __post_init__(self) -> None:
        for scenario in self.arms.values():
            check_scalable(scenario)
            with_clients(scenario, self.max_clients)

    @property
    def counts(self) -> list[int]:
        """The numbers of clients that may be tried."""
        return client_counts(max(len(one.drafters) for one in self.arms.values()), self.max_clients, self.resolution)


@dataclass(frozen=True, slots=True)
class Probe:
    """One simulation."""

    arm: GridCell
    num_clients: int
    seed: int


@dataclass(slots=True)
class Probes:
    """The simulations of a plan, which are stored, and made only once."""

    arms: Mapping[GridCell, Scenario]
    measure: Measure[Scenario]
    folder: CellFolder[ServedRun]
    warm_up: WarmUp
    executor: Executor
    on_done: Callable[[], object]
    runs: dict[Probe, ServedRun] = field(default_factory=dict)

    def run(self, probes: Iterable[Probe]) -> None:
        """Make sure that `runs` has all of them."""
        missing = {_stored_as(probe): probe for probe in probes if probe not in self.runs}
        jobs: list[tuple[SweepTask[Scenario], WarmUp | None]] = [
            (SweepTask(cell, with_clients(self.arms[probe.arm], probe.num_clients), seed), self.warm_up)
            for (cell, seed), probe in missing.items()
        ]
        records = completed(jobs, partial(_record, self.measure), self.folder, self.executor, self.on_done)
        self.runs.update({missing[key]: record for key, record in records.items()})


@dataclass(frozen=True, slots=True)
class CapacityOutcome:
    """All searches and simulations of a plan."""

    plan: CapacityPlan
    results: Mapping[GridCell, Mapping[int, SearchResult]]  # by arm and seed
    runs: Mapping[Probe, ServedRun]

    def attainment(self, probe: Probe) -> Attainment:
        """How far a simulation keeps the SLO."""
        return attainment_of(self.runs[probe], self.plan.slo)


def find_capacities(plan: CapacityPlan, probes: Probes) -> CapacityOutcome:
    """Search all arms under all seeds, and simulate each arm with as many clients as the first arm serves."""
    base, *others = plan.arms
    first_seed, *seeds = plan.seeds
    num_clients = sum(tier.count for tier in plan.arms[base].drafters)
    doubling = steps_of_doubling(plan.resolution)
    results = _search(plan, probes, {(base, first_seed): num_clients}, doubling)
    served = results[base, first_seed].num_clients
    results |= _search(plan, probes, {(arm, first_seed): served for arm in others}, max(1, doubling // 4))
    starts = {(arm, seed): results[arm, first_seed].num_clients for arm in plan.arms for seed in seeds}
    results |= _search(plan, probes, starts, 1)
    by_arm = {arm: {seed: results[arm, seed] for seed in plan.seeds} for arm in plan.arms}
    probes.run(
        Probe(arm, result.num_clients, seed)
        for seed, result in by_arm[base].items()
        for arm in plan.arms
        if result.num_clients
    )
    return CapacityOutcome(plan, by_arm, probes.runs)


def attainment_of(run: ServedRun, slo: Slo) -> Attainment:
    """How far a run keeps the SLO."""
    return slo.attainment(slo.counted(run), run.num_failed)


def _search(
    plan: CapacityPlan, probes: Probes, starts: Mapping[tuple[GridCell, int], int], first_step: int
) -> dict[tuple[GridCell, int], SearchResult]:
    """The results by arm and seed; `starts` are the numbers of clients that are tried first."""
    counts, max_step = plan.counts, steps_of_doubling(plan.resolution)
    searches = {key: CapacitySearch(counts, start, first_step, max_step) for key, start in starts.items()}
    while wanted := {key: count for key, one in searches.items() if (count := one.next_count()) is not None}:
        found = {(arm, seed): Probe(arm, count, seed) for (arm, seed), count in wanted.items()}
        probes.run(found.values())
        for key, probe in found.items():
            searches[key].report(probe.num_clients, attainment_of(probes.runs[probe], plan.slo).is_attained)
    return {key: search.result() for key, search in searches.items()}


def _stored_as(probe: Probe) -> tuple[GridCell, int]:
    return GridCell((*probe.arm.settings, (CLIENTS, probe.num_clients))), probe.seed


def _record(measure: Measure[Scenario], job: tuple[SweepTask[Scenario], WarmUp | None]) -> ServedRun:
    task, warm_up = job
    assert warm_up is not None
    return served_run(task.scenario, measure.replication(task.scenario, warm_up, task.seed))
