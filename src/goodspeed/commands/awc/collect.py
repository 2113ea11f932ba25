"""`goodspeed awc collect`: simulations of random scenarios with every window and mode."""

import argparse
import json
import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from goodspeed.awc.collector import CollectConfig, Collection
from goodspeed.commands.flags import add_flags, add_ray_flag, from_args
from goodspeed.experiment.executor import executor_of

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `collect`."""
    parser = verbs.add_parser(
        "collect",
        help="simulate scenarios with every window",
        description="Simulate random scenarios with every window in remote mode, with co-located drafts and in "
        "target-only mode, and record what the policy sees in them. An interrupted run continues in its folder.",
        epilog="example: goodspeed awc collect --out results/awc --scenarios 2000",
    )
    add_flags(parser, CollectConfig)
    add_ray_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(CollectConfig, args)
    collection = Collection(config)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("simulating", total=collection.num_jobs)
        try:
            with executor_of(config.jobs, args.ray) as executor:
                collection.run(executor, lambda: progress.advance(bar))
        except KeyboardInterrupt:
            num_done = int(progress.tasks[bar].completed)
            print(
                f"goodspeed: {num_done} of {collection.num_jobs} are done; the same command continues", file=sys.stderr
            )
            raise
    if args.json:
        print(json.dumps({"folder": config.out, "scenarios": config.scenarios}))
    else:
        print(f"{config.out}: {config.scenarios:,} scenarios")
    return 0
