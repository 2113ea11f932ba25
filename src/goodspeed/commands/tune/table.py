"""`goodspeed tune table`: an n-gram table of a data set's answers, for drafters to start from."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.commands.tune.evaluate import draft_of
from goodspeed.config import config_dataclass, option, table
from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.tuning.train.ngram_training import learn_table, shuffled

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@config_dataclass
class TrainTableConfig:
    """The n-gram table to learn."""

    out: str = option("", "file for the table and its calibrations (.npz)", is_required=True)
    drafts: tuple[str, ...] = option(
        ("table", "hybrid"),
        "draft engines that will use the table, each calibrated separately: table, hybrid or hybrid:MODEL",
        is_required=True,
    )
    draft: DraftConfig = table(DraftConfig)


def add_parser(verbs: "Subparsers") -> None:
    """Add `table`."""
    parser = verbs.add_parser(
        "table",
        help="train an n-gram table on a data set",
        description="Train an n-gram table of fixed size (--draft.table-slots) on the target's answers in data sets, "
        "and calibrate the draft engines that will start from it (docs/explain/drafts.md).",
        epilog="example: goodspeed tune table train --out my.table.npz --draft.table-slots 1048576",
    )
    parser.add_argument(
        "data", nargs="+", type=Path, metavar="DATASET", help="folders of data sets from `goodspeed tune collect`"
    )
    add_flags(parser, TrainTableConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(TrainTableConfig, args)
    datasets = [import_torch_module("goodspeed.tuning.data.dataset").Dataset.open(folder) for folder in args.data]
    facts = datasets[0].info
    for dataset in datasets:
        dataset.check_tokenizer(facts.tokenizer_fingerprint, str(args.data[0]))
    examples = [example for dataset in datasets for example in dataset.examples()]
    with Console(stderr=True).status("training") as status:
        memory = learn_table(
            [draft_of(config.draft, name) for name in config.drafts],
            shuffled(examples),
            (facts.vocab_size, facts.tokenizer_fingerprint),
            lambda name: status.update(f"training with {name}"),
        )
    memory.save(Path(config.out))
    used, megabytes = memory.table.num_used, Path(config.out).stat().st_size / 1e6
    num_tokens = sum(len(example.answer) for example in examples)
    print(f"{config.out}: {num_tokens} tokens, {used} of {memory.table.num_slots} contexts, {megabytes:.1f} MB")
    return 0
