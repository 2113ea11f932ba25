"""Events happen in order, and queues made of processes behave as queueing theory says."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

from goodspeed.simulator.kernel import NS_PER_S, Kernel, Process, Signal, duration_ns, time_ns

QUANTILE = 3.3
"""Standard errors that a correct queue exceeds with probability 1/1000. Seeds are fixed."""


def test_events_happen_in_order_of_time_and_then_of_scheduling() -> None:
    kernel, happened = Kernel(), list[str]()
    for time, name in ((5, "c"), (1, "a"), (5, "d"), (2, "b")):
        kernel.at(time, partial(happened.append, name))
    kernel.run(4)
    assert happened == ["a", "b"]
    assert kernel.now_ns == 4
    kernel.run(5)
    assert happened == ["a", "b", "c", "d"]


def test_a_cancelled_event_does_not_happen() -> None:
    kernel, happened = Kernel(), list[str]()
    kernel.at(1, partial(happened.append, "kept"))
    kernel.at(1, partial(happened.append, "cancelled")).cancel()
    kernel.run(2)
    assert happened == ["kept"]


def test_an_event_may_schedule_another_at_the_same_time() -> None:
    kernel, happened = Kernel(), list[str]()

    def first() -> None:
        kernel.at(kernel.now_ns, partial(happened.append, "third"))
        happened.append("first")

    kernel.at(0, first)
    kernel.at(0, partial(happened.append, "second"))
    kernel.run(0)
    assert happened == ["first", "second", "third"]


def test_a_signal_resumes_waiting_processes_in_order_but_not_later_ones() -> None:
    kernel, happened = Kernel(), list[tuple[str, int]]()
    signal = Signal(kernel)

    def waiter(name: str, start_ns: int) -> Process:
        yield start_ns
        yield signal
        happened.append((name, kernel.now_ns))

    for name, start_ns in (("a", 1), ("b", 2), ("late", 6)):
        kernel.start(waiter(name, start_ns))
    kernel.at(5, signal.fire)
    kernel.run(100)
    assert happened == [("a", 5), ("b", 5)]


def test_time_ns_is_never_before_the_time_in_seconds() -> None:
    rng = np.random.default_rng(0)
    for seconds in rng.uniform(0.0, 1e4, 2000).tolist():
        nanoseconds = time_ns(seconds)
        assert nanoseconds / NS_PER_S >= seconds
        assert nanoseconds - seconds * NS_PER_S < 2.0


@dataclass(slots=True)
class Queue:
    """A first-come, first-served queue with `num_servers` servers."""

    kernel: Kernel
    num_servers: int
    services_s: Iterator[float]
    waiting: list[Signal] = field(default_factory=list)
    num_busy: int = 0
    num_present: int = 0
    waits_s: list[float] = field(default_factory=list)
    sojourns_s: list[float] = field(default_factory=list)
    area: float = 0.0  # of the number present over time
    changed_s: float = 0.0

    def customer(self) -> Process:
        arrived_s = self.kernel.now_s
        self._count(+1)
        if self.num_busy == self.num_servers:
            turn = Signal(self.kernel)
            self.waiting.append(turn)
            yield turn
        else:
            self.num_busy += 1
        self.waits_s.append(self.kernel.now_s - arrived_s)
        yield duration_ns(next(self.services_s))
        self._count(-1)
        self.sojourns_s.append(self.kernel.now_s - arrived_s)
        if self.waiting:
            self.waiting.pop(0).fire()
        else:
            self.num_busy -= 1

    def source(self, gaps_s: Iterator[float]) -> Process:
        for interarrival_s in gaps_s:
            yield duration_ns(interarrival_s)
            self.kernel.start(self.customer())

    def _count(self, change: int) -> None:
        self.area += self.num_present * (self.kernel.now_s - self.changed_s)
        self.changed_s = self.kernel.now_s
        self.num_present += change


NUM_CUSTOMERS = 60_000


def run_queue(num_servers: int, load: float, services_s: np.ndarray, seed: int) -> Queue:
    """Poisson arrivals at `load` times the servers' capacity, with a mean service time of 1 s."""
    kernel = Kernel()
    gaps_s = np.random.default_rng(seed).exponential(1.0 / (load * num_servers), len(services_s))
    queue = Queue(kernel, num_servers, iter(services_s.tolist()))
    kernel.start(queue.source(iter(gaps_s.tolist())))
    kernel.run(10**9 * NS_PER_S)
    assert len(queue.sojourns_s) == len(services_s)
    return queue


def standard_error(values: list[float]) -> float:
    """The standard error of the mean, from 30 batch means, because neighbours in a queue are correlated."""
    means = [float(batch.mean()) for batch in np.array_split(np.array(values), 30)]
    return float(np.std(means, ddof=1)) / math.sqrt(len(means))


def services(kind: str, seed: int) -> tuple[np.ndarray, float]:
    """Service times with a mean of 1 s, and their squared coefficient of variation."""
    rng = np.random.default_rng(seed)
    if kind == "constant":
        return np.ones(NUM_CUSTOMERS), 0.0
    if kind == "gamma":
        return rng.gamma(4.0, 0.25, NUM_CUSTOMERS), 0.25
    if kind == "hyperexponential":  # one fifth has a mean nine times as long
        means = np.where(rng.random(NUM_CUSTOMERS) < 0.2, 9 / 2.6, 1 / 2.6)
        return rng.exponential(means), 2 * (0.2 * 81 + 0.8) / 2.6**2 - 1
    return rng.exponential(1.0, NUM_CUSTOMERS), 1.0


@pytest.mark.parametrize("kind", ["exponential", "constant", "gamma", "hyperexponential"])
def test_single_server_waiting_time_follows_pollaczek_khinchine(kind: str) -> None:
    load = 0.6
    times_s, squared_cv = services(kind, seed=1)
    queue = run_queue(1, load, times_s, seed=2)
    expected_s = load / (1 - load) * (1 + squared_cv) / 2
    assert abs(np.mean(queue.waits_s) - expected_s) < QUANTILE * standard_error(queue.waits_s)


def test_five_percent_longer_services_fail_the_pollaczek_khinchine_test() -> None:
    """Services that are 5% too long are detected."""
    times_s, squared_cv = services("exponential", seed=1)
    queue = run_queue(1, 0.6, 1.05 * times_s, seed=2)
    expected_s = 0.6 / 0.4 * (1 + squared_cv) / 2
    assert abs(np.mean(queue.waits_s) - expected_s) > QUANTILE * standard_error(queue.waits_s)


def test_waiting_time_of_several_servers_follows_erlang_c() -> None:
    num_servers, load = 4, 0.8
    times_s, _ = services("exponential", seed=3)
    queue = run_queue(num_servers, load, times_s, seed=4)
    offered = num_servers * load
    terms = [offered**k / math.factorial(k) for k in range(num_servers)]
    last = offered**num_servers / math.factorial(num_servers) / (1 - load)
    wait_chance = last / (sum(terms) + last)
    expected_s = wait_chance / (num_servers * (1 - load))
    assert abs(np.mean(queue.waits_s) - expected_s) < QUANTILE * standard_error(queue.waits_s)
    had_to_wait = [float(wait_s > 0.0) for wait_s in queue.waits_s]
    assert abs(np.mean(had_to_wait) - wait_chance) < QUANTILE * standard_error(had_to_wait)


def test_sojourn_times_of_an_mm1_queue_are_exponential() -> None:
    """M/M/1: Kolmogorov-Smirnov over every 200th customer, which are nearly independent, at a level of 1/1000."""
    times_s, _ = services("exponential", seed=5)
    queue = run_queue(1, 0.5, times_s, seed=6)
    sojourns_s = np.sort(np.array(queue.sojourns_s[::200]))
    chances = 1.0 - np.exp(-0.5 * sojourns_s)
    steps = np.arange(len(sojourns_s) + 1) / len(sojourns_s)
    distance = max(np.max(steps[1:] - chances), np.max(chances - steps[:-1]))
    assert distance < 1.95 / math.sqrt(len(sojourns_s))


def test_littles_law_holds_exactly() -> None:
    times_s, _ = services("exponential", seed=7)
    queue = run_queue(2, 0.7, times_s, seed=8)
    assert queue.area == pytest.approx(sum(queue.sojourns_s), rel=1e-9)
