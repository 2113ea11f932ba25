"""The parser of the `goodspeed` command.

Every subcommand is a module of this package with `add_parser(subparsers) -> None`, which sets
`run: Callable[[argparse.Namespace], int]` as the parser's default.
"""

import argparse
import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

import goodspeed
from goodspeed.registry import did_you_mean

COMMANDS = (
    "demo",
    "up",
    "verifier",
    "drafter",
    "dashboard",
    "bench",
    "profile",
    "models",
    "credentials",
    "fluid",
    "verify_lossless",
    "simulate",
    "sweep",
    "replay",
    "tune",
)
EXIT_CODES = """exit codes:
  0    success; a server (up, verifier, drafter, dashboard) was stopped by SIGINT or SIGTERM
  1    a check failed: texts differ, a replay differs, a bound is broken, a precision is not reached
  2    wrong usage, or an error that the message explains
  130  interrupted (Ctrl-C)
"""


class CommandParser(argparse.ArgumentParser):
    """A parser whose errors are short and suggest the nearest name. It takes no abbreviated flags.

    An abbreviation would be ambiguous, or mean another flag, as soon as a flag is added or renamed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:
            hint = did_you_mean(value, action.choices) or f"known: {', '.join(action.choices)}"
            self.error(f"unknown {str(action.metavar).lower()} {value!r}; {hint}")
        super()._check_value(action, value)

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """As the base class; exits with code 2 on an unknown flag."""
        parsed, unknown = super().parse_known_args(args, namespace)
        for flag in (argument.partition("=")[0] for argument in unknown if argument.startswith("--")):
            hint = did_you_mean(flag, self._option_string_actions)
            self.error(f"unknown flag {flag}{'; ' if hint else ''}{hint}")
        return parsed, unknown


def command_parser(arguments: Sequence[str]) -> CommandParser:
    """The parser of the command that the arguments name, or of all commands. It imports only their modules."""
    parser = CommandParser(
        prog="goodspeed",
        usage="%(prog)s COMMAND [FLAG ...]",
        description=goodspeed.__doc__,
        epilog=f"{EXIT_CODES}\n'goodspeed COMMAND --help' lists the flags of a command, with ranges and defaults.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"goodspeed {goodspeed.__version__}")
    command = arguments[0] if arguments else ""
    names = {name.replace("_", "-"): name for name in COMMANDS}
    if command not in names and command and not command.startswith("-"):
        hint = did_you_mean(command, names)
        parser.error(f"unknown command {command!r}; {hint or 'known: ' + ', '.join(names)}")
    subparsers = parser.add_subparsers(prog="goodspeed", title="commands", metavar="COMMAND", required=True)
    for name in [names[command]] if command in names else COMMANDS:
        importlib.import_module(f"goodspeed.commands.{name}").add_parser(subparsers)
    return parser
