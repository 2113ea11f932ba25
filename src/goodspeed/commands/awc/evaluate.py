"""`goodspeed awc evaluate`: AWC beside constant windows, both modes and the default, on held-out scenarios."""

import argparse
from typing import TYPE_CHECKING

from goodspeed.awc.comparison import Comparison, EvaluateConfig
from goodspeed.awc.evaluation import awc_arm
from goodspeed.commands.awc.outcomes import run_and_show
from goodspeed.commands.flags import add_flags, add_ray_flag, from_args
from goodspeed.windows.awc.network import load_network
from goodspeed.windows.awc.policy import AwcConfig

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `evaluate`."""
    parser = verbs.add_parser(
        "evaluate",
        help="compare the network with constant windows on held-out scenarios",
        description="Simulate held-out scenarios with the window policy awc, static windows, both modes without remote "
        "drafts and the default policies. The oracle is the best static arm of each scenario, chosen on other seeds.",
        epilog="example: goodspeed awc evaluate --data results/awc",
    )
    add_flags(parser, EvaluateConfig)
    add_ray_flag(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(EvaluateConfig, args)
    comparison = Comparison(config)
    arms = [awc_arm("awc", load_network(config.weights), AwcConfig(mode=config.mode))]
    run_and_show(comparison, arms, config.jobs, args)
    return 0
