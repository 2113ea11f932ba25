"""`goodspeed tune collect`: a data set of the target's answers to prompts."""

import argparse
import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import Progress as Bar
from rich.progress import TextColumn

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.tuning.tuning_config import CollectConfig

if TYPE_CHECKING:
    from goodspeed.tuning.data.collector import Progress

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add_parser(verbs: "Subparsers") -> None:
    """Add `collect`."""
    parser = verbs.add_parser(
        "collect",
        help="collect the target's answers as a data set",
        description="Let the target answer prompts, greedily and by sampling, and store its log-probabilities at every "
        "position.",
        epilog="example: goodspeed tune collect --prompts gsm8k.jsonl --temperatures 1 --out answers",
    )
    add_flags(parser, CollectConfig)
    parser.add_argument("--json", action="store_true", help="print the manifest's counts as JSON")
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(CollectConfig, args)
    collector = import_torch_module("goodspeed.tuning.data.collector").Collector(config)
    columns = (*Bar.get_default_columns(), TextColumn("{task.fields[tokens]:,} tokens"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {stage: bar.add_task(stage, total=None, visible=False, tokens=0) for stage in ("prompts", "answers")}

        def report(now: "Progress") -> None:
            bar.update(
                tasks[now.stage], completed=now.num_done, total=now.num_requests, tokens=now.num_tokens, visible=True
            )

        dataset = collector.run(report)
    if args.json:
        found = {"facts": asdict(dataset.info), "answers": dataset.num_answers, "tokens": dataset.num_tokens}
        print(json.dumps({**found, "counts": dataset.counts}, indent=2))
    else:
        print(f"{dataset.folder}: {dataset.num_answers:,} answers, {dataset.num_tokens:,} tokens")
    return 0
