"""`goodspeed doctor`: checks a configuration, this machine and the network before a server starts."""

import argparse
import asyncio
import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.drafter.drafter_config import DrafterConfig
from goodspeed.setup.checks import Check, drafter_checks, verifier_checks
from goodspeed.verifier.verifier_config import VerifierConfig

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(subparsers: "Subparsers") -> None:
    """Add `doctor` and its verbs."""
    parser = subparsers.add_parser(
        "doctor",
        description="Check a verifier or drafter with its configuration: files, certificates, ports, model, and for a "
        "drafter whether its verifiers admit it. Nothing is loaded and no session is opened. Exit code 1 if something "
        "is wrong.",
        epilog="example: goodspeed doctor drafter --config goodspeed-drafter/drafter.toml",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    verifier = verbs.add_parser(
        "verifier",
        help="check a verifier, with the flags of `goodspeed verifier`",
        epilog="example: goodspeed doctor verifier --config goodspeed-verifier/verifier.toml",
    )
    add_flags(verifier, VerifierConfig)
    verifier.set_defaults(run=_verifier)
    drafter = verbs.add_parser(
        "drafter",
        help="check a drafter and its verifiers, with the flags of `goodspeed drafter`",
        epilog="example: goodspeed doctor drafter --config goodspeed-drafter/drafter.toml",
    )
    add_flags(drafter, DrafterConfig)
    drafter.set_defaults(run=_drafter)
    for verb in (verifier, drafter):
        verb.add_argument("--json", action="store_true", help="print the checks as JSON")


def _verifier(args: argparse.Namespace) -> int:
    return _report(verifier_checks(from_args(VerifierConfig, args)), is_json=args.json)


def _drafter(args: argparse.Namespace) -> int:
    config = from_args(DrafterConfig, args)

    async def checks() -> list[Check]:
        return [check async for check in drafter_checks(config)]

    return _report(asyncio.run(checks()), is_json=args.json)


def _report(checks: Iterable[Check], *, is_json: bool) -> int:
    found = list(checks)
    if is_json:
        print(json.dumps([asdict(check) for check in found]))
    else:
        console = Console(highlight=False, soft_wrap=True)
        for check in found:
            console.print(f"{_mark(check)} {check.name}: ", end="")
            console.print(check.detail, markup=False)
    return 0 if all(check.is_ok for check in found) else 1


def _mark(check: Check) -> str:
    if not check.is_ok:
        return "[red]wrong  [/red]"
    return "[yellow]warning[/yellow]" if check.is_warning else "[green]ok     [/green]"
