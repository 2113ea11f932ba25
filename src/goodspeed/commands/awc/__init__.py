"""`goodspeed awc`: the learned window policy, from simulations to weights and tables; one module per verb.

Every verb is a module of this package with `add_parser(verbs) -> None`, as a command is (goodspeed.commands.parser).
Training imports torch when it runs, never when its flags are listed.
"""

import argparse
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

VERBS: tuple[str, ...] = ("collect", "train", "evaluate", "ablate")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `awc` with its verbs."""
    parser = subparsers.add_parser(
        "awc",
        description="Simulate scenarios with every window, train the network of the window policy awc on them, and "
        "evaluate it (docs/guide/train_awc.md).",
        epilog="example: goodspeed awc collect --out results/awc",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f"goodspeed.commands.awc.{verb}").add_parser(verbs)
