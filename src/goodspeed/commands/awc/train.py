"""`goodspeed awc train`: the weights of the window policy awc."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress

from goodspeed.awc.training import Training
from goodspeed.awc.training_config import TrainConfig
from goodspeed.commands.flags import add_flags, from_args

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `train`."""
    parser = verbs.add_parser(
        "train",
        help="train the network",
        description="Train the network on the best windows of collected scenarios (L1 loss, AdamW). Needs the extra "
        "torch; the policy itself does not.",
        epilog="example: goodspeed awc train --data results/awc --out weights.npz",
    )
    add_flags(parser, TrainConfig)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(TrainConfig, args)
    training = Training(config)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("training", total=config.schedule.epochs)
        trained = training.run(config.schedule, lambda _: progress.advance(bar))
    trained.network.save(Path(config.out))
    if args.json:
        facts = {
            "weights": config.out,
            "rows": trained.num_rows,
            "error": trained.error,
            "constant_error": trained.constant_error,
        }
        print(json.dumps(facts))
    else:
        print(
            f"{config.out}: {trained.error:.2f} tokens from the labels of held-out scenarios in the mean, "
            f"{trained.constant_error:.2f} with the best constant window; {trained.num_rows:,} rows"
        )
    return 0
