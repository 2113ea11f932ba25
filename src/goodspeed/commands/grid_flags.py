"""The arguments of commands that simulate a scenario with every combination of values."""

import argparse
from pathlib import Path

from goodspeed.errors import ConfigError
from goodspeed.experiment.grid import Axis


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add the scenario file and --set."""
    parser.add_argument("scenario", type=Path, metavar="SCENARIO.toml", help="scenario file")
    parser.add_argument(
        "--set",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY.PATH=VALUE,VALUE",
        help="key and values; an entry of a list of tables is an index from 0, a name, or * for all",
    )


def axes_of(args: argparse.Namespace) -> tuple[Axis, ...]:
    """The axes of --set. Raises ConfigError."""
    axes = tuple(map(Axis.parse, args.set))
    if any(axis.path == "seed" for axis in axes):
        raise ConfigError("set is seed=..., expected another key; --seeds and --first-seed set the seeds")
    return axes
