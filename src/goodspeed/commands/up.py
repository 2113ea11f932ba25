"""`goodspeed up`: a verifier and its drafters on this machine, until SIGINT or SIGTERM."""

import argparse
import json
import signal
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.bench.experiment import run_folder
from goodspeed.cluster.cluster import HOST, Cluster, Ports, start_clusters, start_dashboard
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import (
    PAIRS,
    ClusterSpec,
    Models,
    ServerOptions,
    unchosen,
    uniform_drafters,
    with_event_logs,
)
from goodspeed.commands.flags import add_flags, from_args, given_keys
from goodspeed.config import config_dataclass, option
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.engine.co_located import CO_LOCATED_ENGINES
from goodspeed.engine.targets import TARGET_ENGINES
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.protocol.address import Address, check_port_is_free
from goodspeed.scheduling.policies import SCHEDULERS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

CHECK_S = 0.5  # pause between checks that every server is alive


@config_dataclass
class UpConfig:
    """The servers to start."""

    clients: int = option(4, "number of drafters", ge=1)
    model: str = option("", "target model: a name, a folder or a .gguf file; empty: that of the pair")
    draft: str = option("", "draft model of the drafters, beside lookup and n-gram table; empty: none, or the pair's")
    engine: str = option("", f"target engine: {', '.join(TARGET_ENGINES)}; empty: the pair's, or auto")
    pair: str = option("smollm2", "target and draft model", choices=PAIRS)
    acceptance: float = option(
        0.8, "shaped and toy pairs: share of draft tokens that the target accepts", ge=0.0, le=1.0
    )
    scheduler: str = option(
        "time_aware",
        "scheduler of the verifier, with options of its core after commas (fixed,overcommit=1.5): "
        f"{', '.join(SCHEDULERS)}",
    )
    co_located: str = option(
        "",
        "how the verifier drafts by itself, with options after commas (hybrid,shared=true): "
        f"{', '.join(CO_LOCATED_ENGINES)}",
    )
    rtt_ms: tuple[float, ...] = option(
        (), "round-trip times of the drafters' emulated links, assigned in turns; none: no emulation", ge=0.0
    )
    port: int = option(
        8000, "HTTP port of the first drafter; the others use the next ones; 0: any free port", ge=0, le=65535
    )
    verifier_port: int = option(7700, "gRPC port of the verifier; 0: any free port", ge=0, le=65535)
    metrics_port: int = option(7701, "port of the verifier's metrics; 0: any free port", ge=0, le=65535)
    page: bool = option(True, "serve the live page, which shows what the servers do")
    page_port: int = option(7702, "port of the live page; 0: any free port", ge=0, le=65535)
    event_log: str = option("", "folder for the event logs and the logs of the servers")
    verifier_config: str = option("", "TOML file for the verifier")
    drafter_config: str = option("", "TOML file for the drafters")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `up`."""
    parser = subparsers.add_parser(
        "up",
        description="Start one verifier and its drafters, each in its own process, and print their addresses. They run "
        "until SIGINT (Ctrl-C) or SIGTERM, and all stop if one of them fails.",
        epilog="example: goodspeed up --clients 2 --model Qwen/Qwen3-1.7B --draft Qwen/Qwen3-0.6B",
    )
    add_flags(parser, UpConfig, first=("clients", "model", "draft", "engine", "rtt_ms"))
    parser.add_argument(
        "--json", action="store_true", help="print the addresses as one line of JSON once all servers are ready"
    )
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(UpConfig, args)
    given = given_keys(UpConfig, args)
    servers = ServerOptions(
        config.pair,
        config.acceptance,
        config.verifier_config,
        config.drafter_config,
        unchosen(given),
        Models(config.model, config.draft, config.engine),
    )
    ports = _ports(config, servers, given)
    if config.page:
        check_port_is_free(Address(HOST, config.page_port))
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job of a shell starts with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        _serve(config, servers, ports, is_json=args.json)
    except KeyboardInterrupt:
        return 0
    return 0


def _ports(config: UpConfig, servers: ServerOptions, given: frozenset[str]) -> Ports:
    """A configuration file overrides a port that nobody has chosen."""

    def port(name: str, default: int, in_file: int | None) -> int:
        return default if name in given or in_file is None else in_file

    return Ports(
        port("verifier_port", config.verifier_port, servers.verifier_setting("grpc", "port")),
        port("metrics_port", config.metrics_port, servers.verifier_setting("metrics_port")),
        port("port", config.port, servers.drafter_setting("port")),
    )


def _serve(config: UpConfig, servers: ServerOptions, ports: Ports, *, is_json: bool) -> None:
    """Run until interrupted. Raises StartError if a server ends."""
    with ExitStack() as stack:
        folder = stack.enter_context(run_folder(config.event_log))
        processes = stack.enter_context(Processes(folder))
        spec = _spec(config, servers)
        with Console(stderr=True).status("starting servers"):
            (cluster,) = start_clusters(processes, [with_event_logs(spec, folder) if config.event_log else spec], ports)
            page = start_dashboard(processes, [cluster], config.page_port) if config.page else ""
        _print_json(cluster, page) if is_json else _print(cluster, spec, page)
        while True:
            processes.check()
            time.sleep(CHECK_S)


def _spec(config: UpConfig, servers: ServerOptions) -> ClusterSpec:
    drafters = tuple(uniform_drafters(servers.drafter_flags(), DOMAINS, config.rtt_ms, config.clients))
    grace_s = servers.drafter_setting("grace_s")
    return ClusterSpec(
        "up",
        servers.verifier_flags(config.scheduler, config.co_located),
        drafters,
        DrafterConfig().grace_s if grace_s is None else float(grace_s),
    )


def _print_json(cluster: Cluster, page: str) -> None:
    addresses = {
        "endpoints": cluster.urls,
        "verifier": cluster.verifier_address,
        "metrics": cluster.metrics_urls,
        "page": page,
    }
    print(json.dumps(addresses), flush=True)  # a reader of the pipe waits for this line


def _print(cluster: Cluster, spec: ClusterSpec, page: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"verifier   grpc://{cluster.verifier_address}")
    for drafter, url in zip(spec.drafters, cluster.urls, strict=True):
        link = f"  (link of {drafter.rtt_ms:g} ms)" if drafter.rtt_ms else ""
        console.print(f"{drafter.name:<10} {url}/v1{link}")
    console.print("metrics    " + "  ".join(cluster.metrics_urls))
    if page:
        console.print(f"live page  {page}")
    console.print(f"\ntry:\n{_curl(cluster.urls[0])}\n\nCtrl-C stops all servers.", markup=False)


def _curl(url: str) -> str:
    body = {"model": "default", "messages": [{"role": "user", "content": "Why is the sky blue?"}], "stream": True}
    return f"curl -N {url}/v1/chat/completions -H 'Content-Type: application/json' -d '{json.dumps(body)}'"
