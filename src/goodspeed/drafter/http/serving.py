"""The web server: uvicorn on a given socket, without its own signal handlers and logs."""

import asyncio
import contextlib
import json
import logging
import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from goodspeed.errors import ConfigError

log = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """A bound socket; port 0: any free port. Raises ConfigError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)  # an explicit protocol, or asyncio leaves Nagle's algorithm on
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen on {host}:{port}: {error}") from error
    return listener


class WebServer:
    """Serves an application on a socket, while `run` runs. After `stop` running responses have about grace_s to end."""

    def __init__(self, app: ASGIApp, listener: socket.socket, grace_s: float, keep_alive_s: float = 75.0) -> None:
        """Connections without a request are closed after `keep_alive_s`."""
        self._listener = listener
        self._server = _Uvicorn(
            uvicorn.Config(
                app,
                lifespan="off",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_keep_alive=math.ceil(keep_alive_s),
                timeout_graceful_shutdown=math.ceil(grace_s) + 1,
            )
        )

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    async def run(self) -> None:
        """Serve until `stop`."""
        await self._server.serve([self._listener])

    async def started(self) -> None:
        """Wait until connections are accepted."""
        await self._server.has_started.wait()

    def stop(self) -> None:
        """Accept no more connections; `run` returns when all responses have ended or were cancelled."""
        self._server.should_exit = True


def report_ready(port: int, ready_file: Path | None) -> None:
    """Log that the server accepts connections; write its port to the file as JSON, for who has started the server."""
    log.info("serving", extra={"ids": {"port": port}})
    if ready_file:
        unfinished = ready_file.with_name(f"{ready_file.name}.{os.getpid()}.part")
        unfinished.write_text(json.dumps({"port": port, "metrics_port": port}), encoding="utf-8")
        unfinished.replace(ready_file)


class _Uvicorn(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.has_started = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.has_started.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The command handles signals."""
        yield
