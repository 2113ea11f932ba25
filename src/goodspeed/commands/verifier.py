"""`goodspeed verifier`: one verification server, until SIGINT or SIGTERM."""

import argparse
import asyncio
import json
import logging
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.commands.flags import add_flags, from_args, output_file, warn_of_visible_secrets
from goodspeed.engine.co_located import co_located_drafts
from goodspeed.engine.targets import target_engine
from goodspeed.engine.torch_import import keep_cores
from goodspeed.logs import set_up_logging
from goodspeed.protocol.address import Address, check_port_is_free
from goodspeed.protocol.grpc_server import check_grpc, serve_grpc
from goodspeed.records.event_log import JsonlEventLog
from goodspeed.verifier.metrics import LoopCollector, MetricsServer
from goodspeed.verifier.server import VerifierServer, new_engine_thread
from goodspeed.verifier.verifier_config import VerifierConfig

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)

GRACE_S = 1.0
"""Time for connections to close by themselves after their last message."""
SWITCH_S = 0.0003
"""For how long the engine's thread waits for the interpreter while messages are handled; Python's 5 ms are a step."""


def add_parser(subparsers: "Subparsers") -> None:
    """Add `verifier`."""
    parser = subparsers.add_parser(
        "verifier",
        description="Serve a target model to drafters, until SIGINT (Ctrl-C) or SIGTERM.",
        epilog="example: goodspeed verifier --core.budget 16 --grpc.port 7700 --event-log verifier.jsonl",
    )
    add_flags(parser, VerifierConfig, first=("target.model", "engine", "grpc.host", "grpc.port", "grpc.credentials"))
    parser.add_argument(
        "--ready-file",
        type=output_file,
        metavar="FILE",
        help="file for the ports, as JSON, once the server is ready",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(VerifierConfig, args)
    set_up_logging(config.log_level)
    warn_of_visible_secrets(VerifierConfig, args)
    check_grpc(config.grpc)
    check_port_is_free(Address(config.metrics_host, config.metrics_port))
    keep_cores(config.target)
    sys.setswitchinterval(SWITCH_S)
    asyncio.run(_serve(config, args.ready_file))
    return 0


async def _serve(config: VerifierConfig, ready_file: Path | None) -> None:
    """Serve until a signal arrives or the server fails."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        events = JsonlEventLog(Path(config.event_log)) if config.event_log else None
        if events:
            stack.callback(events.close)
        engine_thread = new_engine_thread()
        engine = await loop.run_in_executor(engine_thread, target_engine, config.engine, config.target, config.seed)
        if engine.grammars:
            await loop.run_in_executor(None, engine.grammars.prepare)
        co_located = await loop.run_in_executor(
            engine_thread, co_located_drafts, config.co_located, config.target, engine.info, engine.grammars
        )
        server = VerifierServer(config.core, engine, events, engine_thread, co_located)
        if co_located:
            server.metrics.watch_co_located(co_located)
        server.metrics.registry.register(LoopCollector(server.collect_metrics, loop))
        metrics = MetricsServer(server.metrics.registry, config.metrics_host, config.metrics_port)
        stack.push_async_callback(asyncio.to_thread, metrics.close)  # a scrape in progress needs the event loop
        grpc_server = await serve_grpc(server.serve, config.grpc, server.metrics.on_session_error)
        stack.push_async_callback(grpc_server.stop, GRACE_S)
        if grpc_server.credentials:
            loop.add_signal_handler(signal.SIGHUP, grpc_server.credentials.reload)
        running = asyncio.create_task(server.run())
        stack.push_async_callback(server.close)
        _report_ready(grpc_server.port, metrics.port, engine.info.model, ready_file)
        await asyncio.wait({running, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        log.info("stopping")
    await running


def _report_ready(port: int, metrics_port: int, model: str, ready_file: Path | None) -> None:
    log.info("serving", extra={"ids": {"port": port, "metrics_port": metrics_port, "model": model}})
    if ready_file:
        ready_file.write_text(json.dumps({"port": port, "metrics_port": metrics_port}), encoding="utf-8")
