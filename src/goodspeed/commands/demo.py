"""`goodspeed demo`: one verifier, four different drafters, real prompts, and a comparison."""

import argparse
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.bench.comparison import ComparisonPlan
from goodspeed.bench.comparison_table import comparison_table, wide_console
from goodspeed.bench.endpoint import RequestSettings
from goodspeed.bench.experiment import Experiment, client_of, cluster_arms, measure, run_folder
from goodspeed.bench.load import LoadShape
from goodspeed.bench.optimality import with_optima
from goodspeed.bench.report import Report, write_json
from goodspeed.bench.show import LiveTexts
from goodspeed.cluster.cluster import start_clusters
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import (
    PAIRS,
    ClusterSpec,
    DrafterSpec,
    ServerOptions,
    verifier_log,
    with_event_logs,
    with_verifier_log,
)
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option
from goodspeed.engine.co_located import CO_LOCATED_ENGINES
from goodspeed.engine.drafts import NO_TABLE

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCHEDULERS = ("fixed", "random", "time_aware")
UNTRAINED = "untrained"


@config_dataclass
class DemoConfig:
    """Length and outputs of the demo."""

    quick: bool = option(False, "use a toy pair and a few tokens: a test of the whole path without a model")
    repetitions: int = option(3, "repetitions, each with prompts of its own", ge=1)
    requests: int = option(2, "requests of each user per repetition", ge=1)
    max_tokens: int = option(96, "maximum length of an answer, in tokens", ge=1)
    seed: int = option(0, "seed of the order of prompts", ge=0)
    co_located: str = option(
        "",
        "how GoodSpeed's verifier drafts by itself, with options after commas (hybrid,shared=true): "
        f"{', '.join(CO_LOCATED_ENGINES)}",
    )
    untrained: bool = option(False, "measure GoodSpeed also with drafts that never saw the target's answers")
    json: str = option("", "file for the report")
    event_log: str = option("", "folder for the event logs and the logs of the servers")


@dataclass(frozen=True, slots=True)
class DemoDrafter:
    """One drafter of the demo: its draft engine, domain and link."""

    name: str
    engine: str
    domain: str
    rtt_ms: float
    toy_acceptance: float  # with --quick, which uses the toy engine

    def spec(self, is_quick: bool) -> DrafterSpec:
        """The drafter as the cluster starts it."""
        if is_quick:
            flags = PAIRS["toy"](self.toy_acceptance).drafter
            return DrafterSpec(self.name, self.domain, flags, self.rtt_ms / 10, jitter=0.1)
        flags = ("--draft.engine", self.engine)
        return DrafterSpec(self.name, self.domain, flags, self.rtt_ms, jitter=0.1)

    def caption(self, is_quick: bool) -> str:
        """A description for the terminal."""
        engine, rtt_ms = ("toy", self.rtt_ms / 10) if is_quick else (self.engine, self.rtt_ms)
        return f"{self.name}: {self.domain} prompts, draft engine {engine}, round trip {rtt_ms:g} ms"


DRAFTERS = (
    DemoDrafter("laptop", "hybrid", "coding", rtt_ms=4.0, toy_acceptance=0.9),
    DemoDrafter("phone", "lookup", "rewriting", rtt_ms=12.0, toy_acceptance=0.5),
    DemoDrafter("router", "table", "maths", rtt_ms=2.0, toy_acceptance=0.7),
    DemoDrafter("desktop", "hybrid", "travel", rtt_ms=0.5, toy_acceptance=0.8),
)


def add_parser(subparsers: "Subparsers") -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo",
        description="Start one verifier and four different drafters, send them prompts of four domains, stream the "
        "texts, and compare three schedulers with the target-only baseline. Exit code 1 if a text differs.",
        epilog="example: goodspeed demo --repetitions 1 --json demo.json",
    )
    add_flags(parser, DemoConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(DemoConfig, args)
    console = wide_console()
    console.print("One verifier with the target model, and four different drafters:")
    for drafter in DRAFTERS:
        console.print(f"  {drafter.caption(config.quick)}", highlight=False)
    report = _measure(config, console)
    if config.json:
        write_json(report, Path(config.json))
    console.print(comparison_table(report.arms))
    _print_conclusion(report, console)
    return 1 if report.num_differing_texts else 0


def _measure(config: DemoConfig, console: Console) -> Report:
    experiment = Experiment(
        clients=tuple(client_of(drafter.name, drafter.domain, config.seed) for drafter in DRAFTERS),
        plan=_plan(config),
        setup={**asdict(config), "drafters": [asdict(drafter) for drafter in DRAFTERS]},
    )
    specs = [_spec(config, scheduler, scheduler) for scheduler in SCHEDULERS]
    if config.untrained:
        specs.append(_spec(config, UNTRAINED, SCHEDULERS[-1], ("--draft.table", NO_TABLE)))
    captions = {drafter.name: drafter.caption(config.quick) for drafter in DRAFTERS}
    with run_folder(config.event_log) as folder:
        logged = with_event_logs if config.event_log else with_verifier_log
        with Processes(folder) as processes:
            with console.status("starting a verifier and four drafters for each scheduler"):
                clusters = start_clusters(processes, [logged(spec, folder) for spec in specs])
            arms = cluster_arms(clusters, has_baseline=True)
            with LiveTexts(captions, experiment.num_answers * len(arms), console) as texts:
                report = measure(experiment, arms, texts)
        return with_optima(report, {spec.name: verifier_log(spec, folder) for spec in specs})


def _spec(config: DemoConfig, arm: str, scheduler: str, draft_flags: tuple[str, ...] = ()) -> ClusterSpec:
    servers = ServerOptions("toy" if config.quick else "smollm2", acceptance_rate=1.0)
    drafters = tuple(drafter.spec(config.quick) for drafter in DRAFTERS)
    drafters = tuple(replace(drafter, flags=(*drafter.flags, *draft_flags)) for drafter in drafters)
    return ClusterSpec(arm, servers.verifier_flags(scheduler, config.co_located), drafters)


def _plan(config: DemoConfig) -> ComparisonPlan:
    if config.quick:
        return ComparisonPlan(RequestSettings(max_tokens=24), LoadShape(), repetitions=1, requests=1, warm_up=1)
    return ComparisonPlan(
        RequestSettings(config.max_tokens), LoadShape(), config.repetitions, config.requests, warm_up=1
    )


def _print_conclusion(report: Report, console: Console) -> None:
    num_texts = sum(arm.total.num_answers for arm in report.arms if arm.num_differing_texts is not None)
    if report.num_differing_texts:
        console.print(f"[red]{report.num_differing_texts} of {num_texts} texts differ from the baseline's.[/red]")
    else:
        console.print(f"[green]All {num_texts} drafted texts are identical to the baseline's.[/green]")
