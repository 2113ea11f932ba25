"""`goodspeed tune evaluate`: acceptance, calibration, cost and goodput of drafts on a target's answers."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from goodspeed.bench.comparison_table import wide_console
from goodspeed.cluster.machine import this_machine
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option, table
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import TARGET_ENGINES, target_engine
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra
from goodspeed.tuning.evaluate.quality import WINDOW, CategoryQuality, Quality
from goodspeed.tuning.evaluate.report import DraftReport, EvaluationReport, model_card

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCHEMA = 2
SHOWN_WINDOWS = (2, 4, 8)


@config_dataclass
class EvaluateConfig:
    """The drafts to evaluate and the data set to evaluate them on."""

    data: str = option(
        "", "folder of a data set from `goodspeed tune collect`, held out from training", is_required=True
    )
    drafts: tuple[str, ...] = option(
        ("lookup", "table", "hybrid"), "drafts to evaluate: an engine, or engine:model (torch:FOLDER, hybrid:FOLDER)"
    )
    draft: DraftConfig = table(DraftConfig)
    trained_on: str = option(
        "", "folder of the data set that the drafts were trained on; its unseen categories get a row of their own"
    )
    num_prompts: int = option(100, "prompts whose answers are used; 0: all", ge=0)
    seed: int = option(0, "seed of the choice and the order of prompts", ge=0)
    streams: int = option(4, "streams that draft together", ge=1)
    window: int = option(8, "longest draft of a round", ge=1)
    min_survival: float = option(0.12, "survival below which a draft ends", ge=0.0, le=1.0)
    engine: str = option(
        "", "target engine on which goodput is measured; empty: not measured", choices=lambda: ("", *TARGET_ENGINES)
    )
    target: TargetConfig = table(TargetConfig)
    goodput_answers: int = option(8, "answers that are generated again to measure goodput", ge=1)
    json: str = option("", "file for the results; -: standard output")
    cards: str = option("", "folder for a model card of each draft")
    plot: str = option("", "file for a reliability diagram: .svg, .png or .pdf (needs goodspeed[plots])")


def add_parser(verbs: "Subparsers") -> None:
    """Add `evaluate`."""
    parser = verbs.add_parser(
        "evaluate",
        help="evaluate drafts on a target's answers",
        description="Measure agreement, acceptance by position, window, category, temperature and rule, calibration, "
        "cost and goodput of drafts on a data set that they were not trained on (docs/explain/draft_evaluation.md).",
        epilog="example: goodspeed tune evaluate --data test --drafts hybrid torch:my-draft --json drafts.json",
    )
    add_flags(parser, EvaluateConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(EvaluateConfig, args)
    plot = _plotter() if config.plot else None
    evaluation = import_torch_module("goodspeed.tuning.evaluate.evaluation")
    plan = evaluation.EvaluationPlan(
        config.num_prompts, config.seed, config.streams, config.window, config.min_survival, config.goodput_answers
    )
    trained_on = Path(config.trained_on) if config.trained_on else None
    held_out = evaluation.HeldOut.read(Path(config.data), plan, trained_on)
    bench = held_out.bench(_target(config), plan) if config.engine and held_out.greedy else None
    drafts = [draft_of(config.draft, name) for name in config.drafts]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        num_answers = sum(len(answers) for answers in held_out.passes())
        task = progress.add_task("evaluating", total=len(drafts) * num_answers)

        def on_answer(title: str) -> None:
            progress.update(task, description=title, advance=1)

        reports = [evaluation.DraftEvaluation(draft, held_out, plan).report(bench, on_answer) for draft in drafts]
    _write(EvaluationReport(SCHEMA, sys.argv, this_machine(), reports), config)
    if plot:
        plot({one.draft: one.qualities for one in reports}, Path(config.plot))
    wide_console(stderr=config.json == "-").print(_table(reports))
    return 0


def _target(config: EvaluateConfig) -> TargetEngine:
    return target_engine(config.engine, config.target)


def draft_of(config: DraftConfig, name: str) -> DraftConfig:
    """The config for a draft that is named as an engine or as engine:model."""
    engine, _, model = name.partition(":")
    return replace(config, engine=engine, model=model or config.model)


def _plotter() -> Callable[[dict[str, list[Quality]], Path], None]:
    """Raises ConfigError if matplotlib is missing, before anything is computed."""
    try:
        plotter: Callable[[dict[str, list[Quality]], Path], None] = importlib.import_module(
            "goodspeed.tuning.evaluate.reliability_plot"
        ).plot_reliability
    except ImportError as error:
        raise ConfigError(missing_extra("a plot", "plots", error)) from error
    return plotter


def _write(evaluation: EvaluationReport, config: EvaluateConfig) -> None:
    text = msgspec.json.format(msgspec.json.encode(evaluation), indent=1) + b"\n"
    if config.json == "-":
        sys.stdout.buffer.write(text)
    elif config.json:
        Path(config.json).parent.mkdir(parents=True, exist_ok=True)
        Path(config.json).write_bytes(text)
    for report in evaluation.drafts if config.cards else ():
        path = Path(config.cards) / f"{report.draft.replace('/', '_').replace(' ', '-')}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(model_card(report, evaluation.machine), encoding="utf-8")


def _table(reports: Sequence[DraftReport]) -> Table:
    accepted = [f"accepted/round w{window}" for window in SHOWN_WINDOWS]
    columns = ("draft", "temperature, rule", "agreement", *accepted, "calibration error", "cost share", "goodput")
    shown = Table(*columns, title=f"Drafts on {reports[0].data}" if reports else "No draft")
    for report in reports:
        for one in report.qualities:
            shown.add_row(*_row(report, one))
            if one.unseen:
                shown.add_row(*_unseen_row(report, one.rule, one.unseen))
    return shown


def _row(report: DraftReport, one: Quality) -> list[str]:
    accepted = [str(one.accepted_per_round[window]) for window in SHOWN_WINDOWS]
    its = report.goodput if one.temperature == 0.0 else None
    costs = (
        [f"{its.cost_share:.3f}", f"x{its.speedup:.2f} (predicted x{its.predicted_speedup:.2f})"] if its else ["", ""]
    )
    heading = [report.draft, f"{one.temperature:g}, {one.rule}", str(one.agreement)]
    return [*heading, *accepted, f"{one.reliability.error:.3f} ({one.reliability.bias:+.3f})", *costs]


def _unseen_row(report: DraftReport, rule: str, its: CategoryQuality) -> list[str]:
    accepted = [str(its.accepted_per_round) if window == WINDOW else "" for window in SHOWN_WINDOWS]
    return [report.draft, f"{rule}, unseen ({its.num_answers})", str(its.agreement), *accepted, "", "", ""]
