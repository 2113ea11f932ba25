"""The parser of the `goodspeed` command.

Every subcommand is a module of this package with `add_parser(subparsers) -> None`, which sets
`run: Callable[[argparse.Namespace], int]` as the parser's default.
"""

import argparse
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import goodspeed
from goodspeed.registry import did_you_mean

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction["CommandParser"]

COMMANDS: Mapping[str, str] = {
    "demo": "compare schedulers with one verifier and four different drafters",
    "up": "run a verifier and drafters on this machine",
    "verifier": "run one verification server",
    "drafter": "run one draft server with an OpenAI-compatible API",
    "init": "set up a verifier and drafters on machines of their own",
    "doctor": "check a verifier or drafter before it starts",
    "dashboard": "serve a page that shows running verifiers and drafters",
    "bench": "measure and compare schedulers, drafts or endpoints under load",
    "profile": "measure latency tables of engines",
    "models": "list, pull and fingerprint models",
    "credentials": "give and revoke tokens of drafters and API keys",
    "fluid": "check the theory numerically",
    "verify_lossless": "check that a pair keeps the target's text",
    "simulate": "simulate a scenario",
    "sweep": "simulate a grid of scenarios",
    "capacity": "search how many clients a scenario serves within an SLO",
    "replay": "replay event logs and compare every decision",
    "tune": "train and evaluate draft models",
    "awc": "train and evaluate the learned window policy",
}
"""What each command does, by the name of its module: a list of all needs none of the modules."""
MODULES = {name.replace("_", "-"): name for name in COMMANDS}
"""The module of each command, by the name that users write."""
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
    """The parser of the command that the arguments name, whose module it imports; else one that lists all commands."""
    parser = _root_parser()
    command = arguments[0] if arguments else ""
    if command not in MODULES and command and not command.startswith("-"):
        hint = did_you_mean(command, MODULES)
        parser.error(f"unknown command {command!r}; {hint or 'known: ' + ', '.join(MODULES)}")
    subparsers = _subparsers(parser)
    if command in MODULES:
        _add_command(subparsers, command)
    else:
        for name in MODULES:
            subparsers.add_parser(name, help=COMMANDS[MODULES[name]])
    return parser


def complete_parser() -> CommandParser:
    """The parser of all commands, with all their flags."""
    parser = _root_parser()
    subparsers = _subparsers(parser)
    for name in MODULES:
        _add_command(subparsers, name)
    return parser


def _root_parser() -> CommandParser:
    parser = CommandParser(
        prog="goodspeed",
        usage="%(prog)s COMMAND [FLAG ...]",
        description=goodspeed.__doc__,
        epilog=f"{EXIT_CODES}\n'goodspeed COMMAND --help' lists the flags of a command, with ranges and defaults.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"goodspeed {goodspeed.__version__}")
    return parser


def _subparsers(parser: CommandParser) -> "Subparsers":
    return parser.add_subparsers(prog="goodspeed", title="commands", metavar="COMMAND", required=True)


def _add_command(subparsers: Any, name: str) -> None:
    importlib.import_module(f"goodspeed.commands.{MODULES[name]}").add_parser(subparsers)
