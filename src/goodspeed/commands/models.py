"""`goodspeed models`: list, pull and fingerprint models."""

import argparse
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from goodspeed.models.catalog import ModelListing, list_models, locate, pull
from goodspeed.models.fingerprint import model_fingerprint
from goodspeed.models.folder import weight_files
from goodspeed.models.model_config import read_config
from goodspeed.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

NAME_HELP = "a name from `goodspeed models list`, a folder, a .gguf file, or a Hugging Face id (organisation/name)"
PRECISIONS = ("fp32", "bf16")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """The identity of a model and its tokenizer, as verifier and drafter compare it, and its size."""

    model: str
    folder: str
    model_type: str
    model_fingerprints: dict[str, str]  # by precision
    tokenizer_fingerprint: str
    vocab_size: int
    max_context: int
    weights_bytes: int


def add_parser(subparsers: "Subparsers") -> None:
    """Add `models` and its verbs."""
    parser = subparsers.add_parser(
        "models",
        description="List the known models, download one, or show its fingerprints.",
        epilog="example: goodspeed models fingerprint smollm2-135m-instruct --json",
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    listing = verbs.add_parser(
        "list", help="list the known models and those on this machine", epilog="example: goodspeed models list"
    )
    listing.set_defaults(run=_list)
    pulling = verbs.add_parser(
        "pull", help="download and convert a model", epilog="example: goodspeed models pull smollm2-135m-instruct"
    )
    pulling.set_defaults(run=_pull)
    fingerprint = verbs.add_parser(
        "fingerprint",
        help="show the fingerprints of a model and its tokenizer",
        epilog="example: goodspeed models fingerprint smollm2-135m-instruct --json",
    )
    fingerprint.set_defaults(run=_fingerprint)
    for verb in (pulling, fingerprint):
        verb.add_argument("name", metavar="NAME", help=NAME_HELP)
    for verb in (listing, pulling, fingerprint):
        verb.add_argument("--json", action="store_true", help="print JSON")


def _list(args: argparse.Namespace) -> int:
    models = list_models()
    if args.json:
        _print_json([_listing_json(model) for model in models])
        return 0
    table = Table("model", "on this machine", "source")
    for model in models:
        table.add_row(model.name, "yes" if model.folder else "no", model.summary)
    Console().print(table)
    return 0


def _pull(args: argparse.Namespace) -> int:
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"downloading {args.name}", total=None)
        folder = pull(args.name, lambda done, total: progress.update(task, completed=done, total=total))
    if args.json:
        _print_json({"model": args.name, "folder": str(folder)})
    else:
        print(folder)
    return 0


def _fingerprint(args: argparse.Namespace) -> int:
    found = fingerprint_of(args.name)
    if args.json:
        _print_json(asdict(found))
        return 0
    table = Table(show_header=False)
    for precision, digits in found.model_fingerprints.items():
        table.add_row(f"model, {precision}", digits)
    table.add_row("tokenizer", found.tokenizer_fingerprint)
    table.add_row("type", found.model_type)
    table.add_row("vocabulary", f"{found.vocab_size:,} tokens")
    table.add_row("context", f"{found.max_context:,} tokens")
    table.add_row("weights", f"{found.weights_bytes / 1e6:,.1f} MB")
    console = Console()
    console.print(table)
    console.print(found.folder, soft_wrap=True, highlight=False)
    return 0


def fingerprint_of(model: str) -> Fingerprint:
    """The fingerprints of a model by any of its names. Raises CheckpointError."""
    folder = locate(model)
    config = read_config(folder)
    return Fingerprint(
        model=model,
        folder=str(folder),
        model_type=config.model_type,
        model_fingerprints={precision: model_fingerprint(folder, precision) for precision in PRECISIONS},
        tokenizer_fingerprint=Tokenizer.load(folder).fingerprint,
        vocab_size=config.vocab_size,
        max_context=config.max_context,
        weights_bytes=sum(path.stat().st_size for path in weight_files(folder)),
    )


def _listing_json(model: ModelListing) -> dict[str, object]:
    return {"model": model.name, "source": model.summary, "folder": str(model.folder) if model.folder else None}


def _print_json(value: object) -> None:
    print(json.dumps(value, indent=2))
