"""Who computes replications: the same results whoever it is, errors come through, and nobody is left behind."""

import multiprocessing
import os
from collections.abc import Callable
from functools import partial

import pytest
from tests.simulator.experiment.single_server import UNLUCKY, Queue, simulate_unless_unlucky

from goodspeed.errors import CapacityError, ConfigError, StartError
from goodspeed.simulator.experiment.executor import Executor, ProcessPool, ThisProcess, local_executor
from goodspeed.simulator.experiment.ray_cluster import RayCluster

QUEUE = Queue(load=0.5, until_s=200.0)
SIMULATE = partial(simulate_unless_unlucky, QUEUE)
EXECUTORS: list[Callable[[], Executor]] = [ThisProcess, partial(ProcessPool, 2), partial(RayCluster, "", 2)]


def _die(code: int) -> None:
    os._exit(code)


def _interrupted(executor: Executor) -> None:
    with executor:
        next(executor.results(SIMULATE, list(range(8))))
        raise KeyboardInterrupt


@pytest.mark.parametrize("make", EXECUTORS, ids=["this process", "process pool", "ray"])
def test_results_are_those_of_this_process_and_errors_come_through(make: Callable[[], Executor]) -> None:
    with make() as executor:
        found = dict(executor.results(SIMULATE, [0, 1, 2, 3]))
        assert found == {seed: simulate_unless_unlucky(QUEUE, seed) for seed in range(4)}
        with pytest.raises(CapacityError, match="seed is 13"):
            list(executor.results(SIMULATE, [0, UNLUCKY]))


def test_an_interrupt_ends_the_workers() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        _interrupted(ProcessPool(2))
    assert set(multiprocessing.active_children()) == before


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(StartError, match="a worker process died"), ProcessPool(1) as pool:
        list(pool.results(_die, [1]))


def test_jobs_are_checked() -> None:
    assert isinstance(local_executor(1), ThisProcess)
    with pytest.raises(ConfigError, match="jobs is -1"):
        local_executor(-1)


def test_a_cluster_that_is_not_there_is_told() -> None:
    with pytest.raises(StartError, match="no Ray cluster at localhost:1"):
        RayCluster("localhost:1")
