"""`goodspeed tune distil`: distillation of a draft model from a data set."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.tuning.tuning_config import DistilConfig

if TYPE_CHECKING:
    from goodspeed.tuning.train.learning_curve import CurvePoint

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `distil`."""
    parser = verbs.add_parser(
        "distil",
        help="train a draft model on a data set",
        description="Train a student on the target's answers, validate its acceptance on others, and save the best one "
        "as a checkpoint that transformers loads.",
        epilog="example: goodspeed tune distil --data answers --validation others --out draft "
        "--student.layers 0 1 --student.vocabulary 8192 --steps 2000",
    )
    add_flags(parser, DistilConfig)
    parser.add_argument("--json", action="store_true", help="print the validations as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(DistilConfig, args)
    distiller = import_torch_module("goodspeed.tuning.train.distiller").Distiller(config)
    console = Console(stderr=True)
    validations: list[CurvePoint] = []

    def report(validation: "CurvePoint") -> None:
        validations.append(validation)
        console.print(_shown(validation, config.steps))

    with Bar(console=console, transient=True) as bar:
        task = bar.add_task("training", total=config.steps)
        distiller.run(report, lambda step: bar.update(task, completed=step))
    distiller.export()
    if args.json:
        print(
            json.dumps(
                {
                    "folder": config.out,
                    "best": distiller.standing.best,
                    "validations": [asdict(one) for one in validations],
                }
            )
        )
    else:
        print(f"{config.out}: {distiller.standing.best:.3f} accepted tokens per round on the validation set")
    return 0


def _shown(point: "CurvePoint", num_steps: int) -> str:
    return (
        f"step {point.step}/{num_steps}: loss {point.loss:.3f}, agreement {point.agreement:.3f}, "
        f"accepted per round {point.accepted_per_round:.3f}, at temperature 1 {point.expected_acceptance:.3f}, "
        f"{point.elapsed_s:.0f} s"
    )
