"""The `goodspeed` command."""

import sys
from collections.abc import Sequence

from goodspeed.commands.parser import command_parser
from goodspeed.errors import GoodSpeedError
from goodspeed.library_environment import set_library_environment


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    set_library_environment()
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        args = command_parser(arguments).parse_args(arguments)
        return int(args.run(args))
    except GoodSpeedError as error:
        print(f"goodspeed: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
