"""Shared cores divide their capacity evenly; an event loop does its work in order."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.simulator.kernel import NS_PER_S, Kernel, duration_ns
from goodspeed.simulator.machine import EventLoop, SimulatedMachine

FOREVER_NS = 10**15
works = st.lists(
    st.tuples(st.floats(0.0, 2.0), st.floats(0.0, 1.0), st.integers(1, 3)),  # start, work, threads
    min_size=1,
    max_size=8,
)


def ends(num_cores: int, tasks: list[tuple[float, float, int]], cold_cache_penalty: float = 0.0) -> list[float]:
    """The time at which each of the tasks is done."""
    kernel = Kernel()
    machine = SimulatedMachine(kernel, num_cores, cold_cache_penalty)
    done = [-1.0] * len(tasks)

    def start(index: int) -> None:
        _, work_s, num_threads = tasks[index]
        machine.run(work_s, num_threads, partial(end, index))

    def end(index: int) -> None:
        done[index] = kernel.now_s

    for index, (start_s, _, _) in enumerate(tasks):
        kernel.at(duration_ns(start_s), partial(start, index))
    kernel.run(FOREVER_NS)
    return done


def test_as_many_threads_as_cores_run_at_full_speed() -> None:
    assert ends(2, [(0.0, 1.0, 1), (0.5, 1.0, 1)]) == pytest.approx([1.0, 1.5])
    assert ends(2, [(0.0, 1.0, 2)]) == pytest.approx([1.0])


def test_three_threads_share_two_cores_evenly() -> None:
    assert ends(2, [(0.0, 1.0, 1)] * 3) == pytest.approx([1.5] * 3)


def test_brief_work_preempts_a_step_that_uses_all_cores() -> None:
    """Two pieces of 2 ms in sequence delay the step by 4 ms; two at the same time, on a core each, by 2 ms."""
    apart = [(0.0, 1.0, 2), (0.2, 0.002, 1), (0.4, 0.002, 1)]
    assert ends(2, apart) == pytest.approx([1.004, 0.202, 0.402])
    together = [(0.0, 1.0, 2), (0.2, 0.002, 1), (0.2, 0.002, 1)]
    assert ends(2, together) == pytest.approx([1.002, 0.202, 0.202])


def test_a_preempted_step_pays_the_cold_cache_penalty() -> None:
    """A quarter of 2 ms, and a quarter of twice 2 ms if two run at the same time."""
    assert ends(2, [(0.0, 1.0, 2), (0.2, 0.002, 1)], cold_cache_penalty=0.25) == pytest.approx([1.0025, 0.202])
    together = [(0.0, 1.0, 2), (0.2, 0.002, 1), (0.2, 0.002, 1)]
    assert ends(2, together, cold_cache_penalty=0.25) == pytest.approx([1.003, 0.202, 0.202])


def test_brief_work_on_a_spare_core_does_not_slow_a_step() -> None:
    assert ends(3, [(0.0, 1.0, 2), (0.2, 0.002, 1)]) == pytest.approx([1.0, 0.202])


def test_more_brief_tasks_than_cores_share_the_cores() -> None:
    assert ends(2, [(0.0, 0.002, 1)] * 4) == pytest.approx([0.004] * 4)


def test_long_work_shares_the_cores_that_brief_work_leaves() -> None:
    """One thread on one core stands still for 2 ms; two threads on two cores share one core for 2 ms."""
    assert ends(1, [(0.0, 1.0, 1), (0.2, 0.002, 1)]) == pytest.approx([1.002, 0.202])
    assert ends(2, [(0.0, 1.0, 1), (0.0, 1.0, 1), (0.2, 0.002, 1)]) == pytest.approx([1.001, 1.001, 0.202])


def test_a_step_runs_at_the_speed_of_its_slowest_thread() -> None:
    """Next to one thread the step runs at half speed; the thread gets two thirds of a core: its 0.3 s take 0.45 s."""
    assert ends(2, [(0.0, 1.0, 2), (0.2, 0.3, 1)]) == pytest.approx([1.0 + 0.45 / 2, 0.65])


def test_later_work_slows_earlier_work_from_then_on() -> None:
    assert ends(1, [(0.0, 1.0, 1), (0.5, 1.0, 1)]) == pytest.approx([1.5, 2.0])


@given(tasks=works, num_cores=st.integers(1, 4))
def test_work_is_conserved_and_no_core_exceeds_its_capacity(
    tasks: list[tuple[float, float, int]], num_cores: int
) -> None:
    finished = ends(num_cores, tasks)
    for (start_s, work_s, _), end_s in zip(tasks, finished, strict=True):
        assert end_s >= start_s + work_s - 1e-6
    most_work = sum(work_s * min(num_threads, num_cores) for _, work_s, num_threads in tasks)
    first = min(start_s for start_s, _, _ in tasks)
    assert max(finished) - first >= most_work / num_cores - 1e-6
    crowd = sum(min(num_threads, num_cores) for _, _, num_threads in tasks)
    slowest = -(-crowd // num_cores)
    assert max(finished) <= 2.0 + slowest * sum(work_s for _, work_s, _ in tasks) + 1e-6


def test_an_event_loop_does_its_work_in_order_of_submission() -> None:
    kernel = Kernel()
    loop, done = EventLoop(kernel, SimulatedMachine(kernel, 4)), list[tuple[str, int]]()
    for name, work_s in (("first", 1.0), ("second", 0.5), ("nothing", 0.0)):
        loop.submit(work_s, lambda name=name: done.append((name, round(10 * kernel.now_s))))  # type: ignore[misc]
    kernel.run(FOREVER_NS)
    assert done == [("first", 10), ("second", 15), ("nothing", 15)]


def test_an_idle_event_loop_does_work_of_zero_length_at_once() -> None:
    kernel = Kernel()
    loop, done = EventLoop(kernel, SimulatedMachine(kernel, 1)), list[int]()
    loop.submit(0.0, lambda: done.append(kernel.now_ns))
    assert done == [0]


def test_work_submitted_by_work_comes_after_queued_work() -> None:
    kernel = Kernel()
    loop, done = EventLoop(kernel, SimulatedMachine(kernel, 1)), list[str]()

    def first() -> None:
        done.append("first")
        loop.submit(0.1, lambda: done.append("third"))

    loop.submit(0.1, first)
    loop.submit(0.1, lambda: done.append("second"))
    kernel.run(NS_PER_S)
    assert done == ["first", "second", "third"]


def test_a_sleeping_event_loop_pays_the_idle_penalty_once() -> None:
    """Two pieces of a second each are submitted together, a third one later, after an idle time."""
    kernel = Kernel()
    loop, done = EventLoop(kernel, SimulatedMachine(kernel, 1), idle_penalty_s=0.25), list[float]()

    def record(then: int) -> None:
        done.append(kernel.now_s)
        if then:
            loop.submit(1.0, partial(record, then - 1))

    loop.submit(1.0, partial(record, 0))
    loop.submit(1.0, partial(record, 1))
    kernel.at(duration_ns(5.0), lambda: loop.submit(1.0, partial(record, 0)))
    kernel.run(FOREVER_NS)
    assert done == pytest.approx([1.25, 2.25, 3.25, 6.25])


def test_the_idle_penalty_occupies_no_core() -> None:
    kernel = Kernel()
    machine, done = SimulatedMachine(kernel, 1), list[float]()
    for _ in range(2):
        EventLoop(kernel, machine, idle_penalty_s=0.5).submit(1.0, lambda: done.append(kernel.now_s))
    machine.run(0.5, 1, lambda: done.append(kernel.now_s))
    kernel.run(FOREVER_NS)
    assert done == pytest.approx([0.5, 2.5, 2.5])
