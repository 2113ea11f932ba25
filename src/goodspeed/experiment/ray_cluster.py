"""Replications as tasks of a Ray cluster. Needs goodspeed[ray], here and on every node."""

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
"""To start a cluster: Ray gives its own processes 30 s, and now and then one of them never comes up."""
AHEAD = 2
"""Tasks submitted for each core of the cluster: one that runs, one that waits."""


class RayCluster:
    """An Executor. An empty address is a cluster of this machine's cores, started here and ended with it."""

    def __init__(self, address: str, num_jobs: int = 0) -> None:
        """`num_jobs`: cores of a cluster that is started here; 0: all. Raises StartError."""
        if address:
            _connect(address)
        else:
            _start(num_jobs)

    def results(self, function: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
        task = ray.remote(_call)
        todo = list(reversed(jobs))
        running: dict[Any, Job] = {}  # by the task's future result
        most = AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        while todo or running:
            while todo and len(running) < most:
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
    """Without what can be left out: dashboard, logs of the workers."""
    if ray.is_initialized():
        raise StartError("no Ray cluster can be started here: this process is part of one already")
    reason: Exception | None = None
    for _ in range(NUM_TRIES):
        try:
            ray.init(num_cpus=num_cores or None, include_dashboard=False, log_to_driver=False)
        except Exception as error:  # noqa: BLE001 - that very class, if a process of Ray's is not up in time
            log.warning("Ray did not start", extra={"ids": {"why": str(error)}})
            reason = error
            ray.shutdown()  # Ray forgets what it had started of a cluster; that ends with this process
        else:
            return
    raise StartError(
        f"Ray did not start on this machine, tried {NUM_TRIES} times: {reason}. Its logs are in session_latest/logs of "
        "its folder (/tmp/ray); try again when the machine is less busy, or leave --ray out"
    ) from reason


def _check_reachable(address: str) -> None:
    """Of HOST:PORT or ray://HOST:PORT. Ray itself would try for minutes and then end this process. Raises OSError."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()


def _call(function: Callable[[Job], Result], job: Job) -> Result:
    return function(job)
