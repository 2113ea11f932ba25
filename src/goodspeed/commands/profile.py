"""`goodspeed profile`: latency tables of a target engine and of a draft engine."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from goodspeed.cluster.machine import MachineInfo, this_machine
from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, option, table
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import TargetEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import TARGET_ENGINES, target_engine
from goodspeed.engine.torch_import import keep_cores
from goodspeed.profiling.draft_profiler import profile_draft, profile_draft_after_pauses, profile_opening
from goodspeed.profiling.profile_grid import ProfileCell, ProfileGrid, ProfilePoint
from goodspeed.profiling.target_profiler import TargetProfiler
from goodspeed.prompts.prompts import DOMAINS, load_prompts

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

SCHEMA = 3


@config_dataclass
class ProfileConfig:
    """The engines to measure and the grid of points."""

    engine: str = option("torch", "target engine", choices=TARGET_ENGINES)
    target: TargetConfig = table(TargetConfig)
    draft: DraftConfig = table(DraftConfig)
    streams: tuple[int, ...] = option((1, 2, 4, 8), "streams in a step", ge=1, is_required=True)
    tokens: tuple[int, ...] = option(
        (1, 2, 4, 8),
        "tokens per stream: of a verification step (a draft and one more) and of a draft",
        ge=1,
        is_required=True,
    )
    context: tuple[int, ...] = option(
        (64, 256, 1024), "tokens of context before the first measured step", ge=1, is_required=True
    )
    prefill: tuple[int, ...] = option(
        (32, 128, 512),
        "prompt tokens of a prefill step of one stream, and of a draft engine's prompt",
        ge=1,
        is_required=True,
    )
    pauses: tuple[float, ...] = option(
        (0.001, 0.003, 0.01, 0.03, 0.1), "idle seconds before a step, for the idle penalty", ge=0.0
    )
    repeats: int = option(7, "steps measured at each point, after two for warm-up", ge=1)
    json: str = option("", "file for the tables; -: standard output")


@dataclass(frozen=True, slots=True)
class Profile:
    """The JSON file; see docs/reference/reports.md."""

    schema: int
    command: list[str]
    machine: MachineInfo
    model: str
    model_fingerprint: str
    draft: DraftConfig
    verify: list[ProfileCell]
    prefill: list[ProfileCell]
    drafting: list[ProfileCell]
    opening: list[ProfileCell]
    after_pauses: list[ProfileCell]
    draft_after_pauses: list[ProfileCell]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `profile`."""
    parser = subparsers.add_parser(
        "profile",
        description="Measure the time of verification steps of the target engine by streams, tokens and context, of "
        "prefill steps, and of drafts and prompts of the draft engine. The machine should be idle otherwise.",
        epilog="example: goodspeed profile --streams 1 4 8 --tokens 1 8 --context 256 --json steps.json",
    )
    add_flags(parser, ProfileConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(ProfileConfig, args)
    keep_cores(config.target)  # as a verifier does
    profile = _measure(config, target_engine(config.engine, config.target))
    if config.json == "-":
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(profile)) + b"\n")
    elif config.json:
        Path(config.json).parent.mkdir(parents=True, exist_ok=True)
        Path(config.json).write_bytes(msgspec.json.format(msgspec.json.encode(profile), indent=1) + b"\n")
    _show(profile, Console(stderr=config.json == "-"))
    return 0


def _measure(config: ProfileConfig, target: TargetEngine) -> Profile:
    grid = ProfileGrid(config.streams, config.tokens, config.context)
    rested = [
        ProfilePoint(streams, sorted(config.tokens)[len(config.tokens) // 2], min(config.context))
        for streams in sorted({min(config.streams), max(config.streams)})
    ]
    prompts = ProfileGrid((1,), config.prefill, (max(config.prefill, default=1),))
    bench = TargetProfiler(target, _text(), config.repeats)
    drafts = draft_engine(config.draft, target.info.num_tokens)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("measuring", total=2 * (len(grid.points()) + len(prompts.points()) + len(rested)))

        def on_cell() -> None:
            progress.advance(task)

        return Profile(
            schema=SCHEMA,
            command=sys.argv,
            machine=this_machine(),
            model=target.info.model,
            model_fingerprint=target.info.model_fingerprint,
            draft=config.draft,
            verify=bench.verify(grid, on_cell),
            prefill=bench.prefill(prompts, on_cell),
            drafting=profile_draft(drafts, _text(), grid, config.repeats, on_cell),
            opening=profile_opening(drafts, _text(), config.prefill, config.repeats, on_cell),
            after_pauses=[cell for point in rested for cell in bench.after_pauses(point, config.pauses, on_cell)],
            draft_after_pauses=[
                cell
                for point in rested
                for cell in profile_draft_after_pauses(drafts, _text(), point, config.pauses, (config.repeats, on_cell))
            ],
        )


def _text() -> list[int]:
    """Tokens that every vocabulary has: the printable ASCII bytes of the built-in prompts."""
    prompts = [message.content for domain in DOMAINS for prompt in load_prompts(domain) for message in prompt.messages]
    return [byte for byte in " ".join(prompts).encode("ascii", "ignore") if byte >= 32]


def _show(profile: Profile, console: Console) -> None:
    for title, cells in (
        (f"verification step of {profile.model}", profile.verify),
        (f"prefill step of {profile.model}", profile.prefill),
        (f"draft of the draft engine {profile.draft.engine}", profile.drafting),
        (f"prompt of the draft engine {profile.draft.engine}", profile.opening),
    ):
        console.print(_table(title, cells))
    for title, cells in (
        (f"verification step of {profile.model} after a pause", profile.after_pauses),
        (f"draft of the draft engine {profile.draft.engine} after a pause", profile.draft_after_pauses),
    ):
        console.print(_pauses_table(title, cells))


def _table(title: str, cells: Sequence[ProfileCell]) -> Table:
    shown = Table("streams", "tokens", "context", "median, ms", "min", "p90", "drafted", title=title)
    for cell in cells:
        times = [f"{1e3 * seconds:.3f}" for seconds in (cell.median_s, cell.min_s, cell.p90_s)]
        drafted = "" if cell.num_drafted is None else f"{cell.num_drafted:.1f}"
        shown.add_row(str(cell.streams), str(cell.tokens), str(cell.context), *times, drafted)
    return shown


def _pauses_table(title: str, cells: Sequence[ProfileCell]) -> Table:
    shown = Table("streams", "pause, ms", "median, ms", "min", "p90", title=title)
    for cell in cells:
        times = [f"{1e3 * seconds:.3f}" for seconds in (cell.median_s, cell.min_s, cell.p90_s)]
        shown.add_row(str(cell.streams), f"{1e3 * cell.pause_s:g}", *times)
    return shown
