"""`goodspeed replay`: event logs replayed by new cores, which must decide the same."""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from goodspeed.drafter.event_log_replay import ReplayedDrafter
from goodspeed.errors import DataError
from goodspeed.records.event_log import Event
from goodspeed.records.replay import DecisionDifference, ReplayableCore, compare_decisions
from goodspeed.verifier.event_log_replay import ReplayedVerifier

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

CORES: dict[str, Callable[[Event], ReplayableCore]] = {"verifier": ReplayedVerifier, "drafter": ReplayedDrafter}


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """The result of replaying one log."""

    log: str
    core: str
    """verifier or drafter"""
    decisions: int
    """Number of decisions compared, up to the first difference."""
    difference: DecisionDifference | None


def add_parser(subparsers: "Subparsers") -> None:
    """Add `replay`."""
    parser = subparsers.add_parser(
        "replay",
        description="Replay event logs of verifiers and drafters with new cores and compare every decision. Exit "
        "code 1 if one differs.",
        epilog="example: goodspeed replay results/verifier.jsonl results/drafter.jsonl --json",
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="event log written by --event-log")
    parser.add_argument("--json", action="store_true", help="print one JSON object per log")
    parser.set_defaults(run=_run)


def replay_file(log: Path, progress: Progress) -> ReplayResult:
    """Raises DataError, which names the file, if it cannot be read or replayed."""
    core, num_decisions = "", 0
    difference: DecisionDifference | None = None

    def new_core(start: Event) -> ReplayableCore:
        nonlocal core
        core = "verifier" if "info" in start else "drafter"
        return CORES[core](start)

    try:
        with progress.open(log, "r", encoding="utf-8", description=log.name) as file:
            for difference in compare_decisions(file, new_core):  # noqa: B007 - the last one is returned
                num_decisions += 1
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {log}: {error}") from error
    except DataError as error:
        raise DataError(f"{log}: {error}") from error
    return ReplayResult(str(log), core, num_decisions, difference)


def _run(args: argparse.Namespace) -> int:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        results = [replay_file(log, progress) for log in args.logs]
    for result in results:
        print(json.dumps(asdict(result)) if args.json else _summary(result))
    return 1 if any(result.difference for result in results) else 0


def _summary(result: ReplayResult) -> str:
    summary = f"{result.log}: {result.core}, {result.decisions} decisions, "
    if result.difference is None:
        return summary + "same"
    logged, replayed = (json.dumps(value) for value in (result.difference.logged, result.difference.replayed))
    index = next((i for i, (a, b) in enumerate(zip(logged, replayed, strict=False)) if a != b), 0)
    return (
        f"{summary}first difference in line {result.difference.line}, character {index} of the decision\n"
        f"  logged:   {_excerpt(logged, index)}\n  replayed: {_excerpt(replayed, index)}"
    )


def _excerpt(text: str, index: int) -> str:
    """The text around a position, at most a line long."""
    start, end = max(0, index - 60), index + 60
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"
