"""A net is trained from a traffic log: answers are scored, the student distilled and exported, and it drafts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.tuning.online.test_online_tuner import record

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import DataError
from goodspeed.tuning.data.dataset import Dataset
from goodspeed.tuning.online.net_trainer import NetTrainer
from goodspeed.tuning.tuning_config import CollectConfig, DistilConfig, StudentConfig

STUDENT = StudentConfig(layers=(0,))


@pytest.fixture(scope="module")
def target(random_checkpoint: Callable[..., Path]) -> Path:
    return random_checkpoint("llama")


def trainer_of(target: Path, folder: Path) -> NetTrainer:
    engine = TargetConfig(model=str(target), dtype="fp32", device="cpu", threads=1)
    collect = CollectConfig(out=str(folder), traffic_logs=("x",), target=engine, streams=2, top_k=16)
    distil = DistilConfig(
        data="x", out="x", target=str(target), student=STUDENT, steps=2, validate_every=1, threads=1, dtype="fp32",
        device="cpu", top_k=8, rows=1, length=128, max_prompt=32,
    )  # fmt: skip
    return NetTrainer(collect, distil)


def test_trained_net_drafts_and_the_next_round_starts_from_it(target: Path, tmp_path: Path) -> None:
    record(tmp_path / "traffic.jsonl", range(16))
    current = DraftConfig(engine="lookup", table="none", dtype="fp32")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        current = trainer_of(target, tmp_path).train(current, tmp_path / "traffic.jsonl", tmp_path / name)
        assert (current.engine, current.model) == ("hybrid", str(tmp_path / name / "draft"))
        engine = draft_engine(current, 320)
        engine.open(1, [97, 98, 99], Sampling())
        assert len(engine.draft([DraftRequest(1, 3)])[0].tokens) == 3


def test_answers_are_scored_once_but_every_line_is_trained_on(target: Path, tmp_path: Path) -> None:
    """The traffic of `record` repeats 6 answers."""
    trainer = trainer_of(target, tmp_path)
    for name, lines in (("round-0000", range(16)), ("round-0001", range(3, 27))):
        folder = tmp_path / name
        folder.mkdir()
        record(folder / "train.jsonl", lines)
        trainer.train(DraftConfig(engine="lookup", table="none"), folder / "train.jsonl", folder)
        parts = [Dataset.open(folder / part).num_answers for part in ("train", "validation")]
        assert parts == [len(lines) - len(lines) // 8, len(lines) // 8]
    assert Dataset.open(tmp_path / "scored").num_answers == 6


def test_too_little_traffic_is_refused(target: Path, tmp_path: Path) -> None:
    record(tmp_path / "traffic.jsonl", range(4))
    with pytest.raises(DataError, match="has 4 answers, a student needs 16"):
        trainer_of(target, tmp_path).train(DraftConfig(), tmp_path / "traffic.jsonl", tmp_path)
