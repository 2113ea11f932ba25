"""The `goodspeed` command.

Every subcommand is a module of `goodspeed.commands` with
`add_parser(subparsers) -> None`, which sets `run: Callable[[argparse.Namespace], int]` as the parser's default.
Exit codes: 0 done, 1 the answer is no (texts differ, a check failed), 2 wrong use or a user-visible error,
130 interrupted.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

import goodspeed
from goodspeed.errors import GoodSpeedError

COMMANDS = (
    "demo",
    "up",
    "verifier",
    "drafter",
    "bench",
    "profile",
    "models",
    "fluid",
    "verify_lossless",
    "simulate",
    "sweep",
    "replay",
    "tune",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    args = command_parser(arguments).parse_args(arguments)
    try:
        return int(args.run(args))
    except GoodSpeedError as error:
        print(f"goodspeed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def command_parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Imports the asked command alone; all of them for the help that lists them."""
    parser = argparse.ArgumentParser(prog="goodspeed", description=goodspeed.__doc__)
    parser.add_argument("--version", action="version", version=f"goodspeed {goodspeed.__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = [name for name in COMMANDS if name.replace("_", "-") in arguments[:1]]
    for name in asked or COMMANDS:
        importlib.import_module(f"goodspeed.commands.{name}").add_parser(subparsers)
    return parser
