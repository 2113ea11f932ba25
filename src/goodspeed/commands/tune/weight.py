"""`goodspeed tune weight`: a data set whose positions are weighted by the scheduler's utility."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from goodspeed.commands.flags import add_flags, from_args
from goodspeed.config import config_dataclass, from_mapping, option, read_toml, table
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.errors import ConfigError
from goodspeed.tuning.train.utility_weights import AllocationProblem

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


@config_dataclass
class WeightConfig:
    """The data set to weight and the clients whose utility counts."""

    data: str = option("", "folder of a data set from `goodspeed tune collect`", is_required=True)
    out: str = option(
        "", "folder for the same answers with weights, for `goodspeed tune distil --weights stored`", is_required=True
    )
    clients: str = option(
        "", "TOML file with a [[clients]] table for each: name, weight, kinds (source/category)", is_required=True
    )
    draft: DraftConfig = table(DraftConfig)
    budget: int = option(16, "draft tokens that the clients share per round", ge=0)
    fairness: float = option(1.0, "alpha of the verifier's alpha-fair utility; 1: the sum of logarithms", ge=0.0)
    max_grant: int = option(8, "longest draft", ge=1)


def add_parser(verbs: "Subparsers") -> None:
    """Add `weight`."""
    parser = verbs.add_parser(
        "weight",
        help="weight a data set by the scheduler's utility",
        description="Weight every position of a data set's answers by the effect of its acceptance on the sum of the "
        "clients' utilities, with this draft and the scheduler's best grants (docs/explain/utility_weights.md).",
        epilog="example: goodspeed tune weight --data train --out weighted --clients clients.toml --draft.engine torch "
        "--draft.model my-draft",
    )
    add_flags(parser, WeightConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(WeightConfig, args)
    weighting = import_torch_module("goodspeed.tuning.train.weighting")
    entries = read_toml(Path(config.clients)).get("clients", [])
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{config.clients} has no [[clients]], expected a table with name, weight and kinds for each")
    clients = [from_mapping(weighting.ClientAnswers, entry, "clients.") for entry in entries]
    dataset = import_torch_module("goodspeed.tuning.data.dataset").Dataset.open(Path(config.data))
    facts = dataset.info
    share = AllocationProblem(config.budget, config.fairness, config.max_grant)
    with Console(stderr=True).status("weighting"):
        examples = weighting.weighted_examples(
            list(dataset.examples()),
            clients,
            share,
            lambda: draft_engine(config.draft, facts.vocab_size, facts.tokenizer_fingerprint),
        )
        written = weighting.write_weighted(dataset, examples, Path(config.out))
    print(f"{config.out}: {written.num_answers} answers of {len(clients)} clients")
    return 0
