"""Replications of one arm under different seeds, until a precision is reached."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from goodspeed.config import config_dataclass, option, required
from goodspeed.experiment.executor import Executor
from goodspeed.experiment.metrics import RunMetrics, compute_metrics
from goodspeed.experiment.summary import Precision
from goodspeed.experiment.warm_up import WarmUp, find_warm_up
from goodspeed.simulator.result import RunResult

Scenario = TypeVar("Scenario")
PILOT_SEED = 2**31 - 1


@config_dataclass
class Seeds:
    """The seeds of the replications. All arms use the same ones (common random numbers)."""

    first: int = required(help_text="first seed", ge=0)
    num: int = required(help_text="number of replications", ge=1)
    max_num: int = option(0, "maximum number of replications with a precision", ge=0)

    def batch(self, num_done: int) -> range:
        """The seeds of the next batch: `num` at first, then half as many as are done."""
        wanted = self.num if not num_done else min(num_done + max(1, num_done // 2), self.max_num)
        return range(self.first + num_done, self.first + wanted)


@dataclass(frozen=True, slots=True)
class Replication:
    """A run and its metrics."""

    run: RunResult
    metrics: RunMetrics


@dataclass(frozen=True, slots=True)
class Measure(Generic[Scenario]):
    """Makes replications. It is pickled for other processes, so its functions must be module-level."""

    simulate: Callable[[Scenario, int], RunResult]
    clients_of: Callable[[Scenario], Sequence[str]]

    def pilot(self, scenario: Scenario) -> Replication:
        """A run that does not count; it determines the warm-up of the others."""
        run = self.simulate(scenario, PILOT_SEED)
        return Replication(run, compute_metrics(run, find_warm_up(run.answers), self.clients_of(scenario)))

    def replication(self, scenario: Scenario, start: WarmUp, seed: int) -> Replication:
        """A replication under this seed."""
        run = self.simulate(scenario, seed)
        return Replication(run, compute_metrics(run, start, self.clients_of(scenario)))


def replicate(
    make: Callable[[int], Replication], seeds: Seeds, precision: Precision | None, executor: Executor
) -> Iterator[Replication]:
    """Make replications with `make`, by seed, and yield each when it is done.

    With a precision, further ones follow until it is reached or `max_num` are done.
    """
    done: list[RunMetrics] = []
    batch = seeds.batch(0)
    while batch:
        for _, replication in executor.results(make, list(batch)):
            done.append(replication.metrics)
            yield replication
        is_enough = precision is None or precision.is_reached(done)
        batch = range(0) if is_enough else seeds.batch(len(done))
