"""`goodspeed demo`: one verifier, four unlike drafters, real prompts, and scenes that show what GoodSpeed brings."""

import argparse
import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.bench.comparison import Arm, BenchClient, ComparisonPlan, compare
from goodspeed.bench.comparison_table import comparison_table, wide_console
from goodspeed.bench.endpoint import RequestSettings
from goodspeed.bench.experiment import Experiment, client_of, cluster_arms, measure, run_folder
from goodspeed.bench.load import LoadShape
from goodspeed.bench.optimality import with_optima
from goodspeed.bench.report import Report, write_json
from goodspeed.bench.show import LiveTexts
from goodspeed.cluster.cluster import Cluster, start_clusters, start_dashboard
from goodspeed.cluster.processes import Processes
from goodspeed.cluster.topology import verifier_log, with_event_logs, with_verifier_log
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option
from goodspeed.demo.drafters import DRAFTERS, NUM_ARMS, demo_clusters
from goodspeed.demo.failover import killed_drafter
from goodspeed.demo.pace import answer_length
from goodspeed.demo.scenes import Scene, same_text, scarce_verifier, target_alone, with_goodspeed
from goodspeed.engine.co_located import CO_LOCATED_ENGINES

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

QUICK_TOKENS = 24
QUICK_KILLED_TOKENS = 400
"""Length of the toy's answer during which a drafter is killed: it must not be complete before."""
TRIAL_TOKENS = 12
"""Length of the answers by which the machine's speed is measured."""


@config_dataclass
class DemoConfig:
    """Length and outputs of the demo."""

    quick: bool = option(False, "use a toy pair and a few tokens: a test of the whole path without a model")
    seconds: float = option(75.0, "time for the measured answers, which sets their length", gt=0.0)
    repetitions: int = option(5, "repetitions, each with prompts of its own", ge=1)
    requests: int = option(1, "requests of each user per repetition", ge=1)
    max_tokens: int = option(0, "maximum length of an answer, in tokens; 0: what `seconds` leaves", ge=0)
    seed: int = option(0, "seed of the order of prompts", ge=0)
    co_located: str = option(
        "",
        "how GoodSpeed's verifier drafts by itself, with options after commas (hybrid,shared=true): "
        f"{', '.join(CO_LOCATED_ENGINES)}",
    )
    table: bool = option(False, "print all figures as a table")
    page: bool = option(False, "serve the live page while the demo runs, and print its address")
    json: str = option("", "file for the report")
    event_log: str = option("", "folder for the event logs and the logs of the servers")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `demo`."""
    parser = subparsers.add_parser(
        "demo",
        description="Start one verifier and four unlike drafters, and send them prompts of four domains: with the "
        "target alone, with GoodSpeed, and with a scarce verifier under three schedulers. Every scene says what it "
        "measured, and whether its claim has shown. Exit code 1 if a text differs.",
        epilog="example: goodspeed demo --table --json demo.json",
    )
    add_flags(parser, DemoConfig, first=("quick", "seconds", "table", "page", "json"))
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(DemoConfig, args)
    console = wide_console()
    console.print("Four unlike clients of one target model:")
    for drafter in DRAFTERS:
        console.print(f"  {drafter.caption(config.quick)}", highlight=False)
    report, killed = _measure(config, console)
    if config.json:
        write_json(report, Path(config.json))
    _print_scenes(
        [target_alone(report), with_goodspeed(report), scarce_verifier(report), killed, same_text(report)], console
    )
    if config.table:
        console.print(comparison_table(report.arms))
    else:
        console.print("\n--table prints all figures, --page serves a live page.", highlight=False)
    return 1 if report.num_differing_texts or killed.has_shown is False else 0


def _measure(config: DemoConfig, console: Console) -> tuple[Report, Scene]:
    clients = tuple(client_of(drafter.name, drafter.domain, config.seed) for drafter in DRAFTERS)
    specs = demo_clusters(config.quick, config.co_located)
    captions = {drafter.name: drafter.caption(config.quick) for drafter in DRAFTERS}
    with run_folder(config.event_log) as folder:
        logged = with_event_logs if config.event_log else with_verifier_log
        with Processes(folder) as processes:
            with console.status("starting the servers"):
                clusters = start_clusters(processes, [logged(spec, folder) for spec in specs])
            if config.page:
                console.print(f"live page: {start_dashboard(processes, clusters)}", highlight=False)
            arms = cluster_arms(clusters, has_baseline=True)
            plan = _plan(config, arms[0], clients)
            setup = {**asdict(config), "drafters": [asdict(drafter) for drafter in DRAFTERS]}
            experiment = Experiment(clients, plan, setup)
            with LiveTexts(captions, experiment.num_answers * len(arms), console) as texts:
                report = measure(experiment, arms, texts)
            killed_tokens = QUICK_KILLED_TOKENS if config.quick else plan.settings.max_tokens
            killed = _kill(clusters[0], clients[0], plan, killed_tokens)
        return with_optima(report, {spec.name: verifier_log(spec, folder) for spec in specs}), killed


def _plan(config: DemoConfig, baseline: Arm, clients: Sequence[BenchClient]) -> ComparisonPlan:
    """The plan; how long answers are is measured unless it is configured."""
    if config.quick:
        return _read_first(QUICK_TOKENS, repetitions=1, requests=1)
    max_tokens = config.max_tokens or _affordable_length(config, baseline, clients)
    return _read_first(max_tokens, config.repetitions, config.requests)


def _read_first(max_tokens: int, repetitions: int, requests: int) -> ComparisonPlan:
    """Runs begin with cached prompts: on a slow machine they would read for longer than they write."""
    return ComparisonPlan(
        RequestSettings(max_tokens), LoadShape(), repetitions, requests, warm_up=1, reads_prompts=True
    )


def _affordable_length(config: DemoConfig, baseline: Arm, clients: Sequence[BenchClient]) -> int:
    trial = _read_first(TRIAL_TOKENS, repetitions=1, requests=1)
    (run,) = asyncio.run(compare([baseline], clients, trial, _Unobserved()))
    num_runs = NUM_ARMS * (1 + config.repetitions * config.requests)  # with the warm-up
    return answer_length(sum(run.goodputs()) / len(clients), num_runs, config.seconds)


def _kill(cluster: Cluster, client: BenchClient, plan: ComparisonPlan, max_tokens: int) -> Scene:
    settings = replace(plan.settings, mode="distributed", max_tokens=max_tokens)
    return asyncio.run(killed_drafter(cluster, client.prompts[0], settings))


class _Unobserved:
    """A ComparisonObserver of a run that nobody watches."""

    def on_phase(self, arm: str, repetition: int) -> None: ...

    def on_text(self, client: str, text: str) -> None: ...

    def on_answer(self, client: str, answer: object) -> None: ...


def _print_scenes(scenes: Sequence[Scene], console: Console) -> None:
    for number, scene in enumerate(scenes, 1):
        console.print(f"\n[bold]{number}. {scene.title}[/bold]", highlight=False)
        console.print(f"   {scene.result}", highlight=False, markup=False)
        for line in scene.details:
            console.print(f"     {line}", highlight=False, markup=False)
        if scene.has_shown is not None:
            console.print(f"   {'[green]shown' if scene.has_shown else '[red]not shown here'}[/]")
