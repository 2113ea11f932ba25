"""One arm, over and over with other seeds, until it is known well enough."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from goodspeed.errors import ConfigError
from goodspeed.simulator.experiment.executor import Executor
from goodspeed.simulator.experiment.figures import Figures, figures
from goodspeed.simulator.experiment.summary import Precision
from goodspeed.simulator.result import RunResult

Scenario = TypeVar("Scenario")


@dataclass(frozen=True, slots=True)
class Seeds:
    """Which replications. The same seeds for every arm: common random numbers."""

    first: int
    num: int
    num_at_most: int = 0  # with a precision

    def __post_init__(self) -> None:
        for name, least in (("first", 0), ("num", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"seeds: {name} is {getattr(self, name)}, expected {least} or more")

    def batch(self, num_done: int) -> range:
        """The next ones to make: the number asked for, and then half as many again."""
        wanted = self.num if not num_done else min(num_done + max(1, num_done // 2), self.num_at_most)
        return range(self.first + num_done, self.first + wanted)


@dataclass(frozen=True, slots=True)
class Replication:
    """A run and its figures."""

    run: RunResult
    figures: Figures


@dataclass(frozen=True, slots=True)
class Measure(Generic[Scenario]):
    """Makes replications; it travels to other processes, so its functions are those of modules."""

    simulate: Callable[[Scenario, int], RunResult]
    clients_of: Callable[[Scenario], Sequence[str]]
    warm_up_s: float | None  # None: MSER-5

    def replication(self, scenario: Scenario, seed: int) -> Replication:
        """With everything that the run left behind."""
        run = self.simulate(scenario, seed)
        return Replication(run, figures(run, self.warm_up_s, self.clients_of(scenario)))


def replicate(
    measure: Measure[Scenario], scenario: Scenario, seeds: Seeds, precision: Precision | None, executor: Executor
) -> Iterator[Replication]:
    """Each as it ends. With a precision, more than asked for until it is reached, or until there are too many."""
    done: list[Figures] = []
    batch = seeds.batch(0)
    while batch:
        for _, replication in executor.results(partial(measure.replication, scenario), list(batch)):
            done.append(replication.figures)
            yield replication
        is_enough = precision is None or precision.is_reached(done)
        batch = range(0) if is_enough else seeds.batch(len(done))
