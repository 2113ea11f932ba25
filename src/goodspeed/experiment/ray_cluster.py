"""Replications as tasks of a Ray cluster. Needs goodspeed[ray] on every node."""

import logging
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import ray

from goodspeed.errors import StartError
from goodspeed.experiment.executor import Job, Result

log = logging.getLogger(__name__)

CONNECT_S = 5.0
NUM_TRIES = 2
"""Attempts to start a cluster: Ray gives its own processes 30 s, and sometimes one of them never starts."""
TASKS_PER_CORE = 2
"""Tasks submitted per core of the cluster: one runs, one waits."""


class RayCluster:
    """An Executor. With an empty address it starts a cluster on this machine, and stops it at the end."""

    def __init__(self, address: str, num_jobs: int = 0) -> None:
        """`num_jobs`: cores of a cluster that is started on this machine; 0: all. Raises StartError."""
        if address:
            _connect(address)
        else:
            _start(num_jobs)

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        task = ray.remote(_call)
        todo = list(reversed(jobs))
        running: dict[Any, Job] = {}  # by the task's future
        max_running = TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while todo or running:
            while todo and len(running) < max_running:
                job = todo.pop()
                running[task.remote(function, job)] = job
            (ready, *_), _ = ray.wait(list(running))
            yield running.pop(ready), ray.get(ready)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray.shutdown()


def _connect(address: str) -> None:
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False)
    except (OSError, RuntimeError, ValueError) as error:
        raise StartError(f"no Ray cluster at {address}: {error}") from error


def _start(num_cores: int) -> None:
    """Start a cluster without the dashboard and the workers' logs."""
    if ray.is_initialized():
        raise StartError("cannot start a Ray cluster: this process is already part of one")
    reason: Exception | None = None
    for _ in range(NUM_TRIES):
        try:
            ray.init(num_cpus=num_cores or None, include_dashboard=False, log_to_driver=False)
        except Exception as error:  # noqa: BLE001 - Ray raises Exception itself if one of its processes does not start in time
            log.warning("Ray did not start", extra={"ids": {"reason": str(error)}})
            reason = error
            ray.shutdown()  # Ray loses track of processes that it has started; they end with this process
        else:
            return
    raise StartError(
        f"Ray did not start on this machine, tried {NUM_TRIES} times: {reason}. Its logs are in session_latest/logs of "
        "its folder (/tmp/ray); try again when the machine is less busy, or leave --ray out"
    ) from reason


def _check_reachable(address: str) -> None:
    """Raises OSError if HOST:PORT does not answer. Ray itself would try for minutes and then end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def _call(function: Callable[[Job], Result], job: Job) -> Result:
    return function(job)
