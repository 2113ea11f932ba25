"""`goodspeed bench`: load and comparison, on endpoints that serve or on clusters that it starts."""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

from goodspeed.bench.comparison import BASELINE, Arm, ComparisonPlan
from goodspeed.bench.comparison_table import comparison_table, wide_console
from goodspeed.bench.endpoint import RequestSettings, is_drafter
from goodspeed.bench.experiment import DISTRIBUTED, FUSED, Experiment, client_of, cluster_arms, measure, run_folder
from goodspeed.bench.load import LoadShape
from goodspeed.bench.optimality import with_optima
from goodspeed.bench.report import Report, write_json
from goodspeed.bench.show import ProgressBar
from goodspeed.cluster.cluster import start_clusters
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import (
    PAIRS,
    ClusterSpec,
    ServerOptions,
    uniform_drafters,
    verifier_log,
    with_event_logs,
    with_verifier_log,
)
from goodspeed.config import add_flags, from_args, option
from goodspeed.errors import ConfigError
from goodspeed.prompts.prompts import DOMAINS
from goodspeed.registry import nearest_name
from goodspeed.scheduling.policies import SCHEDULERS

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

AS_SERVED = "as served"
RULES = ("coupled", "rejection")


@dataclass(frozen=True, slots=True)
class BenchConfig:
    """What is measured."""

    endpoint: tuple[str, ...] = option((), "OpenAI endpoints that serve already, one per client; none: start clusters")
    clients: int = option(4, "drafters of a cluster, each with one client")
    pair: str = option("smollm2", f"target and draft of a cluster: {', '.join(PAIRS)}")
    acceptance: float = option(0.8, "shaped and toy pairs: share of draft tokens that the target accepts")
    scheduler: tuple[str, ...] = option(
        ("time_aware",),
        f"one cluster for each: {', '.join(SCHEDULERS)}, with options of the verifier's core behind commas; or all",
    )
    drafts: tuple[str, ...] = option(
        (), "one cluster for each, with every scheduler: draft engines with options behind commas (default: the pair's)"
    )
    rtt_ms: tuple[float, ...] = option((), "emulated round trips of the drafters' links, in turns; none: no emulation")
    baseline: bool = option(True, "measure the target alone too, in fused mode on the same engine")
    prompts: tuple[str, ...] = option(DOMAINS, "domains or JSONL files, in turns over the clients")
    repetitions: int = option(5, "each with prompts of its own; the arms take turns in each")
    requests: int = option(4, "of each client per repetition")
    warm_up: int = option(2, "requests of each client beforehand, on other prompts")
    max_tokens: int = option(128, "of each answer")
    temperature: float = option(0.0, "0 = greedy")
    rule: str = option("coupled", "how drafts are judged above temperature 0: coupled or rejection")
    concurrency: int = option(1, "closed loop: requests of a client in flight")
    rate: float = option(0.0, "open loop: Poisson arrivals per second and client; 0 = closed loop")
    seed: int = option(0, "of the order of prompts, of arrivals, and of the requests")
    json: str = option("", "file for the report; - is standard output")
    event_log: str = option("", "folder in which the servers' event logs and logs are kept")
    verifier_config: str = option("", "TOML file for the verifiers that it starts")
    drafter_config: str = option("", "TOML file for the drafters that it starts")

    def __post_init__(self) -> None:
        for name in ("prompts", "scheduler"):
            if not getattr(self, name):
                raise ConfigError(f"{name} is empty, expected at least one")
        if len(set(self.endpoint)) < len(self.endpoint):
            raise ConfigError(f"endpoint is {self.endpoint}, expected each only once")
        if self.rule not in RULES:
            raise ConfigError(f"rule is {self.rule!r}; {nearest_name(self.rule, list(RULES))}")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `bench`."""
    parser = subparsers.add_parser(
        "bench",
        help="load and comparison",
        description="Measure goodput, latency, acceptance and fairness against the target alone, in one run on the "
        "same engine. Exit code 1 if a text differs from the target alone's.",
        epilog="example: goodspeed bench --clients 4 --pair smollm2 --scheduler all --repetitions 5 --json out.json",
    )
    add_flags(parser, BenchConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(BenchConfig, args)
    report = _bench_endpoints(config) if config.endpoint else _bench_clusters(config)
    _show(report, config)
    return 1 if report.num_differing_texts else 0


def _bench_endpoints(config: BenchConfig) -> Report:
    sources = [config.prompts[number % len(config.prompts)] for number in range(len(config.endpoint))]
    experiment = _experiment(config, dict(zip(config.endpoint, sources, strict=True)))
    is_ours = asyncio.run(is_drafter(config.endpoint))
    alone = (Arm(BASELINE, config.endpoint, FUSED),) if config.baseline and is_ours else ()
    served = Arm(AS_SERVED, config.endpoint, DISTRIBUTED if is_ours else "")
    return _measure(experiment, (*alone, served))


def _bench_clusters(config: BenchConfig) -> Report:
    specs = _cluster_specs(config)
    experiment = _experiment(config, {drafter.name: drafter.domain for drafter in specs[0].drafters})
    with run_folder(config.event_log) as folder:
        logged = with_event_logs if config.event_log else with_verifier_log
        with Processes(folder) as processes:
            with Console(stderr=True).status("starting servers ..."):
                clusters = start_clusters(processes, [logged(spec, folder) for spec in specs])
            report = _measure(experiment, cluster_arms(clusters, config.baseline))
        has_single_streams = config.concurrency == 1 and not config.rate
        return with_optima(report, {spec.name: verifier_log(spec, folder) for spec in specs if has_single_streams})


def _cluster_specs(config: BenchConfig) -> list[ClusterSpec]:
    servers = ServerOptions(config.pair, config.acceptance, config.verifier_config, config.drafter_config)
    names = SCHEDULERS if "all" in config.scheduler else dict.fromkeys(config.scheduler)
    specs = []
    for drafts in dict.fromkeys(config.drafts or ("",)):
        flags = servers.drafter_flags(drafts)
        drafters = tuple(uniform_drafters(flags, config.prompts, config.rtt_ms, config.clients))
        for name in names:
            arm = f"{name} with {drafts}" if drafts else name
            specs.append(ClusterSpec(arm, servers.verifier_flags(name), drafters))
    return specs


def _experiment(config: BenchConfig, sources: Mapping[str, str]) -> Experiment:
    """`sources`: what each client asks."""
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
