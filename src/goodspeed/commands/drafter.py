"""`goodspeed drafter`: one draft server with an OpenAI-compatible API, until SIGINT or SIGTERM."""

import argparse
import asyncio
import logging
import signal
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.commands.flags import add_flags, from_args, output_file, warn_of_visible_secrets
from goodspeed.credentials.credentials_file import CredentialsFile
from goodspeed.credentials.secret import read_secret
from goodspeed.drafter.acceptance_tracer import AcceptanceTraceWriter
from goodspeed.drafter.assembly import draft_server, load_tokenizer, verifier_endpoints
from goodspeed.drafter.draft_swap import SwappableDraft
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.drafter.http.app import make_app
from goodspeed.drafter.http.service import ApiService
from goodspeed.drafter.http.serving import WebServer, listen, report_ready
from goodspeed.drafter.live_feed import LiveFeed
from goodspeed.drafter.server import DrafterServer
from goodspeed.drafter.traffic_log import TrafficLog, TrafficLoggingRunner
from goodspeed.logs import set_up_logging
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.records.event_log import EventFanOut, EventSink, JsonlEventLog

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

log = logging.getLogger(__name__)


def add_parser(subparsers: "Subparsers") -> None:
    """Add `drafter`."""
    parser = subparsers.add_parser(
        "drafter",
        description="Answer OpenAI requests: draft tokens and have a verification server verify them. It runs until "
        "SIGINT (Ctrl-C) or SIGTERM.",
        epilog="example: goodspeed drafter --verifiers 10.0.0.5:7700 10.0.0.6:7700 --routing jsq --draft.engine hybrid",
    )
    add_flags(parser, DrafterConfig, first=("verifiers", "name", "port", "tokenizer", "draft.model"))
    parser.add_argument(
        "--ready-file",
        type=output_file,
        metavar="FILE",
        help="file for the port, as JSON, once the server is ready",
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(DrafterConfig, args)
    set_up_logging(config.log_level)
    warn_of_visible_secrets(DrafterConfig, args)
    with ExitStack() as stack:
        # What can be wrong comes first: loading a model takes long.
        verifiers = verifier_endpoints(config)
        operator_key = read_secret(config.api_key, config.api_key_file, "api_key")
        named_keys = CredentialsFile(Path(config.api_credentials)) if config.api_credentials else None
        listener = stack.enter_context(listen(config.host, config.port))
        events = _event_sink(config, stack)
        traffic_log = TrafficLog(Path(config.traffic_log), config.drafter) if config.traffic_log else None
        tokenizer = load_tokenizer(config.tokenizer_model)
        draft = SwappableDraft(config.draft, tokenizer)
        stack.callback(draft.save_memory)

        async def serve() -> None:
            runner = TrafficLoggingRunner(draft.runner, traffic_log) if traffic_log else draft.runner
            server = draft_server(config, tokenizer, runner, events, verifiers)
            server.metrics.watch_draft(lambda: (draft.config.name, draft.num_swaps))
            feed = LiveFeed(tokenizer.stream)
            server.watch(feed.on_event)
            service = replace(_api_service(config, server, tokenizer, draft), live_feed=feed)
            service = replace(service, api_key=operator_key, api_credentials=named_keys)
            web = WebServer(make_app(service), listener, config.grace_s, config.keep_alive_s)
            watching = _follow(named_keys) if named_keys else None
            await _serve(server, web, feed, config.grace_s, args.ready_file)
            if watching:
                watching.cancel()

        asyncio.run(serve())
    return 0


def _api_service(
    config: DrafterConfig, server: DrafterServer, tokenizer: Tokenizer, draft: SwappableDraft
) -> ApiService:
    return ApiService(
        server=server,
        tokenizer=tokenizer,
        max_tokens=config.max_tokens,
        meet_s=config.retry.give_up_s,
        draft=draft,
        grammars=draft.grammars,
        cors_origins=config.cors_origins,
        comment_s=config.comment_s,
        tool_parser=config.tool_parser,
    )


def _follow(credentials: CredentialsFile) -> asyncio.Task[None]:
    """A task that follows the file, also by SIGHUP, for as long as the event loop runs."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, credentials.reload)
    return asyncio.create_task(credentials.watch())


def _event_sink(config: DrafterConfig, stack: ExitStack) -> EventSink | None:
    """The event log and the acceptance trace that the config names; the stack closes them."""
    sinks: list[JsonlEventLog | AcceptanceTraceWriter] = []
    if config.event_log:
        sinks.append(JsonlEventLog(Path(config.event_log)))
    if config.acceptance_trace:
        sinks.append(AcceptanceTraceWriter(config.drafter, Path(config.acceptance_trace)))
    for sink in sinks:
        stack.callback(sink.close)
    return EventFanOut(sinks) if sinks else None


async def _serve(
    server: DrafterServer, web: WebServer, feed: LiveFeed, grace_s: float, ready_file: Path | None
) -> None:
    """Serve until a signal arrives or a server fails. Running answers then have `grace_s` to finish."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(server.run())
    serving = asyncio.create_task(web.run())
    await web.started()
    report_ready(web.port, ready_file)
    await asyncio.wait({running, serving, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
    log.info("stopping", extra={"ids": {"streams": server.num_streams}})
    feed.close()  # its responses have no end of their own
    web.stop()
    await asyncio.wait({serving}, timeout=grace_s)
    running.cancel()
    await asyncio.wait({running})
    await serving
    if not running.cancelled():
        running.result()
