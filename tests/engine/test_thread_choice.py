"""The number of threads follows what other programs leave of the cores."""

import math
import random
from collections.abc import Callable

import pytest

from goodspeed.engine.thread_choice import ThreadChoice, thread_counts

PassTime = Callable[[int, int], float]
"""Seconds of a row by number of the pass and of threads."""
ROWS = (4, 8, 12, 20)


def idle(_number: int, num_threads: int) -> float:
    return float(num_threads**-0.7)


def beside(num_busy: int, num_cores: int) -> PassTime:
    """Other programs keep so many cores busy: a pass that needs one of them waits for its slowest thread."""

    def pass_time(number: int, num_threads: int) -> float:
        return idle(number, num_threads) * (1.0 if num_threads <= num_cores - num_busy else 3.0)

    return pass_time


def used(pass_time: PassTime, num_passes: int, num_cores: int, seed: int = 0) -> list[int]:
    """The threads of each pass, whose time varies by 15%."""
    rng, choice, found = random.Random(seed), ThreadChoice(thread_counts(num_cores)), []
    for number in range(num_passes):
        num_rows = rng.choice(ROWS)
        found.append(choice.next(num_rows))
        choice.observe(num_rows, pass_time(number, found[-1]) * (10 + num_rows) * math.exp(rng.gauss(0.0, 0.15)))
    return found


def mean_time(pass_time: PassTime, threads: list[int]) -> float:
    return sum(pass_time(number, num) for number, num in enumerate(threads)) / len(threads)


@pytest.mark.parametrize(("most", "counts"), [(1, [1]), (2, [2, 1]), (8, [8, 7, 6, 5, 4, 3, 2, 1])])
def test_numbers_that_are_tried_go_from_all_cores_to_one(most: int, counts: list[int]) -> None:
    assert thread_counts(most) == counts


@pytest.mark.parametrize("num_cores", [2, 8])
@pytest.mark.parametrize("seed", range(4))
def test_trials_on_idle_cores_cost_little(num_cores: int, seed: int) -> None:
    threads = used(idle, 5000, num_cores, seed)
    assert mean_time(idle, threads) < 1.03 * idle(0, num_cores)


@pytest.mark.parametrize(("num_busy", "num_cores"), [(1, 2), (1, 8), (2, 8)])
def test_busy_cores_are_left_to_the_programs_that_need_them(num_busy: int, num_cores: int) -> None:
    pass_time = beside(num_busy, num_cores)
    threads = used(pass_time, 2000, num_cores)
    assert mean_time(pass_time, threads[500:]) < 1.05 * pass_time(0, num_cores - num_busy)
    assert mean_time(pass_time, threads[500:]) < 0.7 * pass_time(0, num_cores)


def test_a_core_that_becomes_free_is_used_again() -> None:
    busy = beside(1, 2)
    threads = used(lambda number, num: (busy if number < 1000 else idle)(number, num), 2000, num_cores=2)
    assert threads[900:1000].count(1) > 90
    assert threads[1200:1300].count(2) > 90


def test_a_single_interrupted_pass_changes_nothing() -> None:
    threads = used(lambda number, num: idle(number, num) * (100.0 if number == 500 else 1.0), 1000, num_cores=2)
    assert threads[500:].count(1) < 10


def test_one_core_needs_no_choice() -> None:
    assert set(used(idle, 50, num_cores=1)) == {1}
