"""`goodspeed tune`: training and evaluation of draft models, one module per verb.

Every verb is a module of this package with `add_parser(verbs) -> None`, as a command is (goodspeed.commands.parser). A
verb imports torch when it runs, never when its flags are listed.
"""

import argparse
import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

VERBS: tuple[str, ...] = ("collect", "distil", "table", "evaluate", "weight", "online")


def add_parser(subparsers: "Subparsers") -> None:
    """Add `tune` with its verbs."""
    parser = subparsers.add_parser(
        "tune",
        description="Train draft models on the answers of a target, and evaluate them (docs/guide/tune_drafts.md).",
        epilog="example: goodspeed tune collect --prompts gsm8k.jsonl --out answers",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f"goodspeed.commands.tune.{verb}").add_parser(verbs)
