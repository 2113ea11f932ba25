"""`goodspeed bench`: load on running endpoints, or a comparison of clusters that it starts."""

import argparse
import asyncio
import itertools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from goodspeed.bench.comparison import BASELINE, Arm, ComparisonPlan
from goodspeed.bench.comparison_table import comparison_table, wide_console
from goodspeed.bench.endpoint import RequestSettings, is_drafter
from goodspeed.bench.experiment import (
    DISTRIBUTED,
    TARGET_ONLY,
    Experiment,
    client_of,
    cluster_arms,
    measure,
    run_folder,
)
from goodspeed.bench.load import LoadShape
from goodspeed.bench.optimality import with_optima
from goodspeed.bench.report import Report, write_json
from goodspeed.bench.show import ProgressBar
from goodspeed.cluster.cluster import start_clusters
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import (
    PAIRS,
    UNCACHED,
    ClusterSpec,
    Models,
    ServerOptions,
    unchosen,
    uniform_drafters,
    verifier_log,
    with_event_logs,
    with_verifier_log,
)
from goodspeed.commands.flags import add_flags, from_args, given_keys
from goodspeed.config import config_dataclass, option
from goodspeed.engine.co_located import CO_LOCATED_ENGINES
from goodspeed.engine.targets import TARGET_ENGINES
from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.scheduling.policies import SCHEDULERS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

AS_SERVED = "as served"
RULES = ("coupled", "rejection")


@config_dataclass
class BenchConfig:
    """Load, clusters and prompts of a benchmark."""

    endpoint: tuple[str, ...] = option((), "URLs of running OpenAI endpoints, one per client; none: start clusters")
    clients: int = option(4, "drafters of each cluster, one client each", ge=1)
    model: str = option("", "target model: a name, a folder or a .gguf file; empty: that of the pair")
    draft: str = option("", "draft model of the drafters, beside lookup and n-gram table; empty: none, or the pair's")
    engine: str = option("", f"target engine: {', '.join(TARGET_ENGINES)}; empty: the pair's, or auto")
    pair: str = option("smollm2", "target and draft model of the clusters", choices=PAIRS)
    acceptance: float = option(
        0.8, "shaped and toy pairs: share of draft tokens that the target accepts", ge=0.0, le=1.0
    )
    scheduler: tuple[str, ...] = option(
        ("time_aware",),
        "schedulers to compare, one cluster each, with options of the verifier's core after commas "
        f"(fixed,overcommit=1.5), or all: {', '.join(SCHEDULERS)}",
        is_required=True,
    )
    drafts: tuple[str, ...] = option(
        (),
        "draft engines to compare, one cluster each with every scheduler, with options after commas; none: the pair's",
    )
    co_located: tuple[str, ...] = option(
        (),
        "how verifiers draft by themselves, one cluster each with every scheduler, with options after commas "
        f"(hybrid,shared=true): {', '.join(CO_LOCATED_ENGINES)}",
    )
    rtt_ms: tuple[float, ...] = option(
        (), "round-trip times of the drafters' emulated links, assigned in turns; none: no emulation", ge=0.0
    )
    baseline: bool = option(True, "measure the target-only baseline too, on the same engine")
    prompts: tuple[str, ...] = option(
        DOMAINS, "domains or JSONL files, assigned to the clients in turns", is_required=True
    )
    repetitions: int = option(5, "repetitions, each with prompts of its own; every arm runs in each", ge=1)
    requests: int = option(4, "requests of each client per repetition", ge=1)
    warm_up: int = option(2, "requests of each client before the first repetition, with other prompts", ge=0)
    max_tokens: int = option(128, "maximum length of an answer, in tokens", ge=1)
    temperature: float = option(0.0, "sampling temperature; 0: greedy", ge=0.0, le=100.0)
    rule: str = option("coupled", "verification rule above temperature 0", choices=RULES)
    concurrency: int = option(1, "closed loop: requests of a client in flight", ge=1)
    rate: float = option(0.0, "open loop: Poisson arrivals per second and client; 0: closed loop", ge=0.0, lt=1e6)
    seed: int = option(0, "seed of the order of prompts, of arrivals and of sampling", ge=0)
    json: str = option("", "file for the report; -: standard output")
    event_log: str = option("", "folder for the event logs and the logs of the servers")
    verifier_config: str = option("", "TOML file for the verifiers that it starts")
    drafter_config: str = option("", "TOML file for the drafters that it starts")

    def __post_init__(self) -> None:
        if len(set(self.endpoint)) < len(self.endpoint):
            raise ConfigError(f"endpoint is {self.endpoint}, expected each only once")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `bench`."""
    parser = subparsers.add_parser(
        "bench",
        description="Measure goodput, latency, acceptance and fairness, and compare them with the target-only baseline "
        "in one run on the same engine. Exit code 1 if a text differs from the baseline's.",
        epilog="example: goodspeed bench --clients 4 --pair smollm2 --scheduler all --repetitions 5 --json out.json",
    )
    add_flags(parser, BenchConfig, first=("clients", "model", "scheduler", "repetitions", "rtt_ms"))
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(BenchConfig, args)
    defaults = unchosen(given_keys(BenchConfig, args))
    report = _bench_endpoints(config) if config.endpoint else _bench_clusters(config, defaults)
    _show(report, config)
    return 1 if report.num_differing_texts else 0


def _bench_endpoints(config: BenchConfig) -> Report:
    sources = [config.prompts[number % len(config.prompts)] for number in range(len(config.endpoint))]
    experiment = _experiment(config, dict(zip(config.endpoint, sources, strict=True)))
    is_ours = asyncio.run(is_drafter(config.endpoint))
    baseline = (Arm(BASELINE, config.endpoint, TARGET_ONLY),) if config.baseline and is_ours else ()
    served = Arm(AS_SERVED, config.endpoint, DISTRIBUTED if is_ours else "")
    return _measure(experiment, (*baseline, served))


def _bench_clusters(config: BenchConfig, defaults: frozenset[str]) -> Report:
    """`defaults`: the keys that nobody has chosen, for ServerOptions."""
    specs = _cluster_specs(config, defaults)
    experiment = _experiment(config, {drafter.name: drafter.domain for drafter in specs[0].drafters})
    with run_folder(config.event_log) as folder:
        logged = with_event_logs if config.event_log else with_verifier_log
        with Processes(folder) as processes:
            with Console(stderr=True).status("starting servers"):
                clusters = start_clusters(processes, [logged(spec, folder) for spec in specs])
            report = _measure(experiment, cluster_arms(clusters, config.baseline))
        has_single_streams = config.concurrency == 1 and not config.rate
        return with_optima(report, {spec.name: verifier_log(spec, folder) for spec in specs if has_single_streams})


def _cluster_specs(config: BenchConfig, defaults: frozenset[str]) -> list[ClusterSpec]:
    models = Models(config.model, config.draft, config.engine)
    servers = ServerOptions(
        config.pair, config.acceptance, config.verifier_config, config.drafter_config, defaults, models
    )
    names = SCHEDULERS if "all" in config.scheduler else dict.fromkeys(config.scheduler)
    if "scheduler" in defaults and (configured := servers.verifier_setting("core", "scheduler")):
        names = dict.fromkeys((configured,))
    is_configured = servers.verifier_setting("core", "prefix_cache_tokens") is not None
    cache = () if is_configured else UNCACHED
    specs = []
    for drafts in dict.fromkeys(config.drafts or ("",)):
        flags = servers.drafter_flags(drafts)
        drafters = tuple(uniform_drafters(flags, config.prompts, config.rtt_ms, config.clients))
        for name, co_located in itertools.product(names, dict.fromkeys(config.co_located or ("",))):
            arm = f"{name} with {drafts}" if drafts else name
            arm += f", co-located {co_located}" if co_located else ""
            specs.append(ClusterSpec(arm, (*servers.verifier_flags(name, co_located), *cache), drafters))
    return specs


def _experiment(config: BenchConfig, sources: Mapping[str, str]) -> Experiment:
    """`sources`: the prompt source of each client."""
    settings = RequestSettings(config.max_tokens, config.temperature, config.seed, rule=config.rule)
    shape = LoadShape(config.concurrency, config.rate)
    return Experiment(
        clients=tuple(client_of(name, source, config.seed) for name, source in sources.items()),
        plan=ComparisonPlan(settings, shape, config.repetitions, config.requests, config.warm_up),
        setup=asdict(config),
    )


def _measure(experiment: Experiment, arms: Sequence[Arm]) -> Report:
    with ProgressBar(experiment.num_answers * len(arms), Console(stderr=True)) as bar:
        return measure(experiment, arms, bar)


def _show(report: Report, config: BenchConfig) -> None:
    if config.json == "-":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(report)) + b"\n")
    elif config.json:
        write_json(report, Path(config.json))
    wide_console(stderr=config.json == "-").print(comparison_table(report.arms))
