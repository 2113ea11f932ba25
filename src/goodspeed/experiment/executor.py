"""Executors of replications: this process, worker processes on this machine, or a Ray cluster.

An executor is a context manager. Jobs are pickled for other processes, so functions must be module-level.
"""

import importlib
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from types import TracebackType
from typing import Protocol, Self, TypeVar

from goodspeed.cluster.machine import num_cores
from goodspeed.errors import ConfigError, StartError
from goodspeed.extras import missing_extra

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a function on jobs."""

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, in order of completion. Raises what the function raises."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def local_executor(num_jobs: int) -> Executor:
    """An executor of `num_jobs` jobs at a time; 0: one per core."""
    if num_jobs < 0:
        raise ConfigError(f"jobs is {num_jobs}, expected 0 (one for each core) or more")
    num_processes = num_jobs or num_cores()
    return WorkerProcesses(num_processes) if num_processes > 1 else SerialExecutor()


def executor_of(num_jobs: int, ray_address: str | None) -> Executor:
    """A Ray cluster at this address (empty: one of this machine), or without an address a local executor.

    Raises ConfigError if Ray is not installed, StartError if there is no cluster.
    """
    if ray_address is None:
        return local_executor(num_jobs)
    try:
        module = importlib.import_module("goodspeed.experiment.ray_cluster")
    except ImportError as error:
        raise ConfigError(missing_extra("--ray", "ray", error)) from error
    cluster: Executor = module.RayCluster(ray_address, num_jobs)
    return cluster


class SerialExecutor:
    """Runs one job after the other in this process."""

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        for job in jobs:
            yield job, function(job)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class WorkerProcesses:
    """Runs jobs in fresh processes. An error or Ctrl-C terminates them at once."""

    def __init__(self, num_jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(num_jobs, context, initializer=_ignore_interrupt)
        self._before = set(multiprocessing.active_children())

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        futures = {self._pool.submit(function, job): job for job in jobs}
        for future in as_completed(futures):
            yield futures.pop(future), _result(future)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for worker in set(multiprocessing.active_children()) - self._before:
                worker.terminate()
        self._pool.shutdown(cancel_futures=True)


def _result(future: "Future[Result]") -> Result:
    try:
        return future.result()
    except BrokenExecutor as error:
        raise StartError(f"a worker process died, possibly out of memory; try fewer jobs: {error}") from error


def _ignore_interrupt() -> None:
    """Ctrl-C is sent to the whole process group; only the parent handles it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
