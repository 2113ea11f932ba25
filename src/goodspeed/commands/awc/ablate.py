"""`goodspeed awc ablate`: AWC without each of its parts."""

import argparse
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.awc.ablation import variants
from goodspeed.awc.comparison import Comparison, EvaluateConfig
from goodspeed.awc.training import Training
from goodspeed.awc.training_config import ScheduleConfig, TrainConfig
from goodspeed.commands.awc.outcomes import run_and_show
from goodspeed.commands.flags import add_flags, add_ray_flag, from_args
from goodspeed.windows.awc.network import AwcNetwork, load_network
from goodspeed.windows.awc.policy import AwcConfig

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `ablate`."""
    parser = verbs.add_parser(
        "ablate",
        help="evaluate the network without each of its parts",
        description="Evaluate networks that are trained without one of the inputs, and the policy without clamp, "
        "smoothing, hysteresis or switch of mode, or with the switch of mode alone. Needs the extra torch.",
        epilog="example: goodspeed awc ablate --data results/awc --scenarios 50",
    )
    add_flags(parser, EvaluateConfig)
    add_ray_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(EvaluateConfig, args)
    comparison, network = Comparison(config), load_network(config.weights)
    training = Training(
        TrainConfig(
            data=config.data,
            mode=config.mode,
            held_out_share=config.held_out_share,
            split_seed=config.split_seed,
            score=config.score,
        )
    )
    console = Console(stderr=True)

    def train_without(name: str) -> AwcNetwork:
        with console.status(f"training without {name}"):
            return training.run(ScheduleConfig(without=name), lambda _: None).network

    arms = variants(network, AwcConfig(mode=config.mode), train_without)
    run_and_show(comparison, arms, config.jobs, args)
    return 0
