"""`goodspeed tune online`: rounds of learning from a drafter's traffic, and swapping in what is better."""

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from goodspeed.config import add_flags, from_args, option, table
from goodspeed.drafter.assembly import load_tokenizer
from goodspeed.drafter.drafter_config import DEFAULT_MODEL
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import DraftEngine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.errors import ConfigError
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.online.drafter_admin import HttpDrafterAdmin
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

if TYPE_CHECKING:
    from goodspeed.tuning.online.online_tuner import DraftTrainer, OnlineRound, OnlineTuner

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

KINDS = ("table", "net")


@dataclass(frozen=True, slots=True)
class OnlineConfig:
    """Whose traffic, what learns from it, and when it is good enough."""

    recorded: str = option("", "the drafter's `--record` file")
    work: str = option("", "folder for what is made; a run that was killed goes on there")
    drafter: str = option("http://127.0.0.1:8000", "URL of the drafter")
    api_key: str = option("", "its API key")
    kind: str = option("table", "what learns: table, or net (scored by the target, then distilled)")
    rounds: int = option(0, "rounds to do; 0: until interrupted")
    poll_s: float = option(10.0, "pause between looks at the traffic")
    min_answers: int = option(64, "new answers that make a round")
    judged_share: float = option(0.25, "of the new answers, the newest, by which old and new draft are judged")
    max_learned: int = option(4000, "the newest answers that are learned from")
    window: int = option(4, "draft tokens per round in that comparison")
    margin: float = option(0.0, "accepted tokens per round that a new draft must gain at least to be swapped in")
    target: TargetConfig = table(TargetConfig)
    tokenizer: str = option(DEFAULT_MODEL, "the target's tokenizer: a model's name or folder, or toy")
    student: StudentConfig = table(StudentConfig)
    steps: int = option(200, "net: updates a round")
    learning_rate: float = option(3e-4, "net: the largest")

    def __post_init__(self) -> None:
        if not (self.recorded and self.work):
            raise ConfigError("expected recorded and work: the drafter's traffic file and a folder")
        if self.kind not in KINDS:
            raise ConfigError(f"kind is {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.min_answers < 4 or not 0.0 < self.judged_share < 1.0 or min(self.window, self.steps) < 1:
            raise ConfigError("expected min_answers of 4 or more, judged_share in 0..1, window and steps of 1 or more")


def add_parser(verbs: "Subparsers") -> None:
    """Add `online`."""
    parser = verbs.add_parser(
        "online",
        help="rounds of learning from live traffic, and swapping in what is better",
        description="Learn a draft from what a drafter has recorded, judge it beside the one in use on the newest "
        "answers, and swap it in if it is better (docs/drafter.md). A line of JSON for every round.",
        epilog="example: goodspeed tune online --recorded traffic.jsonl --work online --drafter http://127.0.0.1:8000",
    )
    add_flags(parser, OnlineConfig)
    parser.set_defaults(run=_run)


def _run(args: argparse.Namespace) -> int:
    config = from_args(OnlineConfig, args)
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
        config.min_answers, config.max_learned, config.judged_share, config.window, config.margin
    )
    maker = (
        online.NGramTableTrainer(tokenizer.vocab_size, tokenizer.fingerprint)
        if config.kind == "table"
        else _net_maker(config)
    )
    admin = HttpDrafterAdmin(config.drafter, config.api_key)
    tuner: OnlineTuner = online.OnlineTuner(Path(config.recorded), Path(config.work), admin, maker, policy)
    return tuner


def _net_maker(config: OnlineConfig) -> "DraftTrainer":
    collect = CollectConfig(out=config.work, recorded=(config.recorded,), target=config.target)
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
    maker: DraftTrainer = import_torch_module("goodspeed.tuning.online.net_trainer").NetTrainer(collect, distil)
    return maker
