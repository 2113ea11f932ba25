"""Who computes replications: this process, other processes of this machine, or a Ray cluster.

Each is a context manager. What it is given travels to other processes, so functions are those of modules.
"""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from types import TracebackType
from typing import Protocol, Self, TypeVar

from goodspeed.cluster.machine import num_cores
from goodspeed.errors import ConfigError, StartError

Job = TypeVar("Job")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs a function on jobs."""

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        """Each job with its result, in the order in which they end. Raises what the function raises."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def local_executor(num_jobs: int) -> Executor:
    """`num_jobs` at a time; 0: one for each core."""
    if num_jobs < 0:
        raise ConfigError(f"jobs is {num_jobs}, expected 0 (one for each core) or more")
    wanted = num_jobs or num_cores()
    return WorkerProcesses(wanted) if wanted > 1 else SerialExecutor()


class SerialExecutor:
    """One job after the other."""

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
    """Fresh processes, that share nothing with this one. Left by an error or Ctrl-C, it ends them at once."""

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
        raise StartError(f"a worker process died, perhaps for want of memory; fewer jobs need less: {error}") from error


def _ignore_interrupt() -> None:
    """Ctrl-C goes to the whole group; the parent alone answers it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
