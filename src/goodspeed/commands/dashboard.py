"""`goodspeed dashboard`: a page that shows running verifiers and drafters, until SIGINT or SIGTERM."""

import argparse
import asyncio
import logging
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from goodspeed.commands.flags import add_flags, from_args, output_file
from goodspeed.dashboard.app import make_app
from goodspeed.dashboard.dashboard_config import DashboardConfig
from goodspeed.dashboard.reader import ServerReader
from goodspeed.drafter.http.serving import WebServer, listen, report_ready
from goodspeed.logs import set_up_logging

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)


def add_parser(subparsers: "Subparsers") -> None:
    """Add `dashboard`."""
    parser = subparsers.add_parser(
        "dashboard",
        description="Serve a web page that shows what verifiers and drafters do: goodput, modes, the shares of the "
        "budget, and the text of answers with the origin of every token. It runs until SIGINT (Ctrl-C) or SIGTERM.",
        epilog="example: goodspeed dashboard --verifiers http://10.0.0.5:7701 --drafters http://127.0.0.1:8000",
    )
    add_flags(parser, DashboardConfig)
    parser.add_argument(
        "--ready-file",
        type=output_file,
        metavar="FILE",
        help="file for the port, as JSON, once the page is served",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(DashboardConfig, args)
    set_up_logging(config.log_level)
    password, headers = config.password, {"authorization": f"Bearer {config.api_key}"} if config.api_key else {}
    with ExitStack() as stack:
        listener = stack.enter_context(listen(config.host, config.port))

        async def serve() -> None:
            # No proxy: the servers are those of one system, mostly on this machine.
            async with httpx.AsyncClient(trust_env=False, headers=headers) as client:
                reader = ServerReader(client, _stripped(config.verifiers), _stripped(config.drafters))
                await _serve(WebServer(make_app(reader, client, password), listener, 0.0), reader, args.ready_file)

        asyncio.run(serve())
    return 0


def _stripped(urls: tuple[str, ...]) -> list[str]:
    return [url.rstrip("/").removesuffix("/metrics") for url in urls]


async def _serve(web: WebServer, reader: ServerReader, ready_file: Path | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    serving = asyncio.create_task(web.run())
    await web.started()
    report_ready(web.port, ready_file)
    await asyncio.wait({serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    reader.close()  # its responses have no end of their own
    web.stop()
    await serving
