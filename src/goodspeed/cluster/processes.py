"""Server processes: they are started, awaited until ready, and end with this process in every case."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from goodspeed.errors import GoodSpeedError, StartError

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 5.0
DYING_S = 1.0
"""Time after which the system reports the end of a killed server; its threads end first."""
POLL_S = 0.02
SHARED_CORES = {"OMP_PROC_BIND": "false"}
"""Servers share the cores of the machine: threads bound to cores would wait for each other (docs/explain/engine.md)."""
TAIL_LINES = 15


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """A server to start."""

    name: str  # also the name of its log file
    arguments: tuple[str, ...]
    """Arguments of the `goodspeed` command, without --ready-file."""
    num_threads: int
    """Threads of BLAS and torch."""
    grace_s: float | None = None
    """Of a server that stops before the others, which its running answers need: time that these have to finish."""


@dataclass(frozen=True, slots=True)
class ReadyServer:
    """A server that accepts connections."""

    pid: int
    port: int
    metrics_port: int


class Processes:
    """A group of servers with one log file each in `folder`. As a context manager it ends all of them on exit."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._servers: list[_Server] = []

    def start(self, spec: ServerSpec) -> Callable[[], ReadyServer]:
        """Start a server. The result waits until it is ready, and raises StartError with the end of its log."""
        server = _Server(spec, self.folder)
        self._servers.append(server)
        return server.wait_ready

    @property
    def pids(self) -> list[int]:
        return [server.process.pid for server in self._servers]

    def check(self, timeout_s: float = 0.0) -> None:
        """Raises StartError if a server has ended, or ends within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        for server in self._servers:
            server.check(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """End all servers by SIGTERM, and after a timeout by SIGKILL: those with a grace period first. Idempotent."""
        serving = [server for server in self._servers if server.grace_s is not None]
        _stop(serving)
        _stop([server for server in self._servers if server not in serving])
        self._servers.clear()

    def __enter__(self) -> "Processes":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, GoodSpeedError) and not isinstance(error, StartError):
                self.check(DYING_S)  # if a dead server caused the error, its log is shown
        finally:
            self.stop()


def _stop(servers: Sequence["_Server"]) -> None:
    for server in servers:
        server.signal(signal.SIGTERM)
    started = time.monotonic()
    for server in servers:
        server.wait_stopped(started + STOP_TIMEOUT_S + (server.grace_s or 0.0))


class _Server:
    def __init__(self, spec: ServerSpec, folder: Path) -> None:
        self.grace_s = spec.grace_s
        folder.mkdir(parents=True, exist_ok=True)
        self._name = spec.name
        self._log = folder / f"{spec.name}.log"
        self._ready_file = folder / f"{spec.name}.ready.json"
        self._ready_file.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "goodspeed.child",
                    *spec.arguments,
                    "--ready-file",
                    str(self._ready_file),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches only this process, which ends the servers in order
                env={**SHARED_CORES, **os.environ, **_thread_limits(spec.num_threads), "PYTHONUNBUFFERED": "1"},
            )

    def wait_ready(self) -> ReadyServer:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._ready_file.exists():
                with contextlib.suppress(json.JSONDecodeError):  # the file is being written
                    fields = json.loads(self._ready_file.read_text(encoding="utf-8"))
                    return ReadyServer(self.process.pid, fields["port"], fields.get("metrics_port", fields["port"]))
            self.check()
            time.sleep(POLL_S)
        raise StartError(f"{self._name} is not ready after {START_TIMEOUT_S:.0f} s; {self._tail()}")

    def check(self, timeout_s: float = 0.0) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_s)
            raise StartError(f"{self._name} has ended with exit code {self.process.returncode}; {self._tail()}")

    def signal(self, number: signal.Signals) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def wait_stopped(self, deadline: float) -> None:
        try:
            self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()

    def _tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join([f"the end of {self._log}:", *(f"  {line}" for line in lines)])


def _thread_limits(num_threads: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(num_threads))
