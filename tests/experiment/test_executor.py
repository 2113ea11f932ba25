"""All executors return the same results, raise errors, and leave no processes behind."""

import logging
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from goodspeed.errors import CapacityError, ConfigError, StartError
from goodspeed.experiment.executor import Executor, SerialExecutor, WorkerProcesses, local_executor
from goodspeed.experiment.ray_cluster import RayCluster
from goodspeed.testing.single_server import FAILING_SEED, SingleServerQueue, simulate_or_fail

QUEUE = SingleServerQueue(load=0.5, until_s=200.0)
SIMULATE = partial(simulate_or_fail, QUEUE)
EXECUTORS: list[Callable[[], Executor]] = [SerialExecutor, partial(WorkerProcesses, 2), partial(RayCluster, "", 2)]


def _die(code: int) -> None:
    os._exit(code)


def _interrupted(executor: Executor) -> None:
    with executor:
        next(executor.results(SIMULATE, list(range(8))))
        raise KeyboardInterrupt


@pytest.mark.parametrize("make", EXECUTORS, ids=["this process", "process pool", "ray"])
def test_every_executor_returns_the_same_results_and_raises_errors(make: Callable[[], Executor]) -> None:
    with make() as executor:
        found = dict(executor.results(SIMULATE, [0, 1, 2, 3]))
        assert found == {seed: simulate_or_fail(QUEUE, seed) for seed in range(4)}
        with pytest.raises(CapacityError, match="seed is 13"):
            list(executor.results(SIMULATE, [0, FAILING_SEED]))


def test_an_interrupt_terminates_the_workers() -> None:
    before = set(multiprocessing.active_children())
    with pytest.raises(KeyboardInterrupt):
        _interrupted(WorkerProcesses(2))
    assert set(multiprocessing.active_children()) == before


def test_a_worker_that_dies_raises_an_error() -> None:
    with pytest.raises(StartError, match="a worker process died"), WorkerProcesses(1) as pool:
        list(pool.results(_die, [1]))


def test_a_negative_number_of_jobs_is_refused() -> None:
    assert isinstance(local_executor(1), SerialExecutor)
    with pytest.raises(ConfigError, match="jobs is -1"):
        local_executor(-1)


def test_a_cluster_that_does_not_start_is_retried_then_reported_and_leaves_no_process() -> None:
    """The last of Ray's processes shall run under a profiler that does not exist; the others have started by then."""
    program = "from goodspeed.experiment.ray_cluster import RayCluster; RayCluster('', 1)"
    with tempfile.TemporaryDirectory(prefix="ray") as folder:  # with a short name: there are sockets in it
        environment = {**os.environ, "RAY_RAYLET_PERFTOOLS_PROFILER": "1", "RAY_TMPDIR": folder}
        ended = subprocess.run(
            [sys.executable, "-c", program], check=False, env=environment, capture_output=True, text=True
        )
        assert "StartError: Ray did not start on this machine, tried 2 times: 'PERFTOOLS_PATH'" in ended.stderr
        assert len(list(Path(folder).glob("**/gcs_server.out"))) == 2
        table = subprocess.run(["ps", "-A", "-o", "args="], check=True, capture_output=True, text=True).stdout
        assert folder not in table


class Remedy(logging.Handler):
    """A log handler that removes the cause of the failure at the first message."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == "Ray did not start":
            del os.environ["RAY_RAYLET_PERFTOOLS_PROFILER"]


def test_a_cluster_that_starts_at_the_second_attempt_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_RAYLET_PERFTOOLS_PROFILER", "1")
    logger, remedy = logging.getLogger("goodspeed"), Remedy()
    logger.addHandler(remedy)
    try:
        with RayCluster("", 1) as cluster:
            assert dict(cluster.results(SIMULATE, [3])) == {3: SIMULATE(3)}
    finally:
        logger.removeHandler(remedy)
    assert "RAY_RAYLET_PERFTOOLS_PROFILER" not in os.environ


def test_an_unreachable_cluster_raises_an_error() -> None:
    with pytest.raises(StartError, match="no Ray cluster at localhost:1"):
        RayCluster("localhost:1")
