"""`goodspeed replay`: event logs told to fresh cores, which must decide the same."""

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
class Replayed:
    """One log, and what came of it."""

    log: str
    core: str
    """Whose log it is: verifier or drafter."""
    decisions: int
    """How many were compared, up to the first difference."""
    difference: DecisionDifference | None


def add_parser(subparsers: "Subparsers") -> None:
    """Add `replay`."""
    parser = subparsers.add_parser(
        "replay",
        help="tell event logs to fresh cores, and compare what they decide",
        description="Replay event logs of verifiers and drafters. Exit code 1: some decision came out otherwise.",
        epilog="example: goodspeed replay results/verifier.jsonl results/drafter.jsonl --json",
    )
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="what --event-log has written")
    parser.add_argument("--json", action="store_true", help="a JSON object a line for each log")
    parser.set_defaults(run=_run)


def replay_file(log: Path, progress: Progress) -> Replayed:
    """Raises DataError, which names the file, if it cannot be read or replayed."""
    core, num_decisions = "", 0
    difference: DecisionDifference | None = None

    def begin(start: Event) -> ReplayableCore:
        nonlocal core
        core = "verifier" if "info" in start else "drafter"
        return CORES[core](start)

    try:
        with progress.open(log, "r", encoding="utf-8", description=log.name) as file:
            for found in compare_decisions(file, begin):
                num_decisions += 1
                difference = found
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {log}: {error}") from error
    except DataError as error:
        raise DataError(f"{log}: {error}") from error
    return Replayed(str(log), core, num_decisions, difference)


def _run(args: argparse.Namespace) -> int:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        replayed = [replay_file(log, progress) for log in args.logs]
    for one in replayed:
        print(json.dumps(asdict(one)) if args.json else _told(one))
    return 1 if any(one.difference for one in replayed) else 0


def _told(one: Replayed) -> str:
    summary = f"{one.log}: {one.core}, {one.decisions} decisions, "
    if one.difference is None:
        return summary + "same"
    recorded, replayed = (json.dumps(value) for value in (one.difference.logged, one.difference.replayed))
    at = next((i for i, (a, b) in enumerate(zip(recorded, replayed, strict=False)) if a != b), 0)
    return (
        f"{summary}first difference in line {one.difference.line}, character {at} of the decision\n"
        f"  recorded: {_near(recorded, at)}\n  replayed: {_near(replayed, at)}"
    )


def _near(text: str, at: int) -> str:
    """A line's worth of the text around a place."""
    begin, end = max(0, at - 60), at + 60
    return f"{'...' if begin else ''}{text[begin:end]}{'...' if end < len(text) else ''}"
