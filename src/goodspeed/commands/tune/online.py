"""`goodspeed tune online`: a draft that learns from a drafter's traffic and is swapped in when it is better."""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.commands.flags import add_flags, from_args, warn_of_visible_secrets
from goodspeed.config import config_dataclass, option, table
from goodspeed.credentials.secret import read_secret
from goodspeed.drafter.assembly import load_tokenizer
from goodspeed.drafter.drafter_config import DEFAULT_MODEL
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.online.drafter_admin import HttpDrafterAdmin
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

if TYPE_CHECKING:
    from goodspeed.tuning.online.online_tuner import DraftTrainer, OnlineRound, OnlineTuner

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

KINDS = ("table", "net")


@config_dataclass
class OnlineConfig:
    """The traffic to learn from, the draft that learns, and the condition for a swap."""

    traffic_log: str = option(
        "",
        "traffic log that the drafter writes (`goodspeed drafter --traffic-log`)",
        is_required=True,
        was=("recorded",),
    )
    work: str = option("", "folder for checkpoints; an interrupted run continues there", is_required=True)
    drafter: str = option("http://127.0.0.1:8000", "URL of the drafter")
    api_key: str = option("", "the operator's API key of the drafter", is_secret=True)
    api_key_file: str = option("", "file that holds this API key")
    kind: str = option(
        "table", "draft that learns: an n-gram table, or a net (answers are scored, then distilled)", choices=KINDS
    )
    rounds: int = option(0, "rounds to run; 0: until interrupted", ge=0)
    poll_s: float = option(10.0, "pause between reads of the traffic log", ge=0.0)
    min_answers: int = option(64, "new answers that start a round", ge=4)
    held_out_share: float = option(
        0.25,
        "share of the new answers, the latest ones, on which old and new draft are compared",
        gt=0.0,
        lt=1.0,
        was=("judged_share",),
    )
    max_train_answers: int = option(4000, "latest answers that are learned from", ge=1, was=("max_learned",))
    window: int = option(4, "draft tokens per round in that comparison", ge=1)
    margin: float = option(0.0, "accepted tokens per round that a new draft must gain to be swapped in", ge=0.0)
    target: TargetConfig = table(TargetConfig)
    tokenizer: str = option(DEFAULT_MODEL, "tokenizer of the target: a model's name or folder, or toy")
    student: StudentConfig = table(StudentConfig)
    steps: int = option(200, "net: updates per round", ge=1)
    learning_rate: float = option(3e-4, "net: peak learning rate", gt=0.0)


def add_parser(verbs: "Subparsers") -> None:
    """Add `online`."""
    parser = verbs.add_parser(
        "online",
        help="train on live traffic and swap in better drafts",
        description="Train a draft on a drafter's traffic log, compare it with the one in use on the latest answers, "
        "and swap it in if it is better (docs/guide/tune_drafts.md). Prints a line of JSON per round.",
        epilog="example: goodspeed tune online --traffic-log traffic.jsonl --work online --drafter http://127.0.0.1:8000",
    )
    add_flags(parser, OnlineConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(OnlineConfig, args)
    warn_of_visible_secrets(OnlineConfig, args)
    tokenizer = load_tokenizer(config.tokenizer)
    tuner = _tuner(config, tokenizer)

    def make_engine(draft: DraftConfig) -> DraftEngine:
        return draft_engine(draft, tokenizer.vocab_size, tokenizer.fingerprint)

    num_done = 0
    while not config.rounds or num_done < config.rounds:
        done: OnlineRound | None = tuner.next_round(make_engine, tokenizer.vocab_size)
        if done is None:
            time.sleep(config.poll_s)
            continue
        num_done += 1
        print(json.dumps(asdict(done)), flush=True)
    return 0


def _tuner(config: OnlineConfig, tokenizer: Tokenizer) -> "OnlineTuner":
    online = import_torch_module("goodspeed.tuning.online.online_tuner")
    policy = online.OnlinePolicy(
        config.min_answers, config.max_train_answers, config.held_out_share, config.window, config.margin
    )
    trainer = (
        online.NGramTableTrainer(tokenizer.vocab_size, tokenizer.fingerprint)
        if config.kind == "table"
        else _net_trainer(config)
    )
    admin = HttpDrafterAdmin(config.drafter, read_secret(config.api_key, config.api_key_file, "api_key"))
    tuner: OnlineTuner = online.OnlineTuner(Path(config.traffic_log), Path(config.work), admin, trainer, policy)
    return tuner


def _net_trainer(config: OnlineConfig) -> "DraftTrainer":
    collect = CollectConfig(out=config.work, traffic_logs=(config.traffic_log,), target=config.target)
    distil = DistilConfig(
        data=config.work,
        out=config.work,
        target=config.target.model,
        student=config.student,
        steps=config.steps,
        learning_rate=config.learning_rate,
        validate_every=max(1, config.steps // 4),
        patience=2,
    )
    trainer: DraftTrainer = import_torch_module("goodspeed.tuning.online.net_trainer").NetTrainer(collect, distil)
    return trainer
