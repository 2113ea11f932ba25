"""Target and draft pad their vocabularies differently: ids beyond the tokenizer are padding everywhere.

vllm#7252, trl#3028, vllm#13175.
"""

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goodspeed.commands import verify_lossless
from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.models.checkpoint import read_config
from goodspeed.models.tokenizer import Tokenizer
from goodspeed.tuning.data.dataset import Dataset, DatasetInfo
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.train.distiller import Distiller
from goodspeed.tuning.tuning_config import DistilConfig, StudentConfig

Checkpoints = Callable[..., Path]
SIZES = {"wide": 384, "narrow": 352}
TOP = 3


@pytest.fixture(scope="module")
def folders(random_checkpoint: Checkpoints) -> dict[str, Path]:
    """Two models with the tokenizer of 320 tokens."""
    plain = random_checkpoint("llama", num_hidden_layers=1)
    sizes = {"num_hidden_layers": 1, "max_position_embeddings": 1024}
    found = {name: random_checkpoint("llama", vocab_size=size, **sizes) for name, size in SIZES.items()}
    for folder in found.values():
        for file in plain.glob("tokenizer*"):
            shutil.copy(file, folder)
    assert {Tokenizer.load(folder).vocab_size for folder in found.values()} == {320}
    return found


PAIRS = [("wide", "narrow"), ("narrow", "wide")]


@pytest.mark.parametrize(("target", "draft"), PAIRS)
def test_pair_is_lossless(
    folders: dict[str, Path], target: str, draft: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    verify_lossless.add_parser(parser.add_subparsers())
    flags = ["--target.model", str(folders[target]), "--draft.engine", "torch", "--draft.model", str(folders[draft])]
    flags += ["--target.dtype", "fp32", "--draft.dtype", "fp32", "--temperatures", "0", "--n", "2"]
    args = parser.parse_args(["verify-lossless", *flags, "--max-tokens", "12", "--json"])
    assert args.run(args) == 0
    (check,) = json.loads(capsys.readouterr().out)
    assert check["is_lossless"] is True


def test_draft_reads_padding_of_the_target(folders: dict[str, Path]) -> None:
    config = DraftConfig(engine="torch", model=str(folders["narrow"]), dtype="fp32", device="cpu", kv_memory_mb=8)
    engine = draft_engine(config, 320)
    engine.open(1, [1, 5, 380], Sampling())
    engine.open(2, [1, 5], Sampling())
    engine.commit(2, [7, 381])
    drafts = engine.draft([DraftRequest(1, 3), DraftRequest(2, 3)])
    assert [len(draft.tokens) for draft in drafts] == [3, 3]
    assert all(token < 320 for draft in drafts for token in draft.tokens)


@pytest.mark.parametrize(("target", "draft"), PAIRS)
def test_draft_of_another_padding_is_distilled(
    folders: dict[str, Path], target: str, draft: str, tmp_path: Path
) -> None:
    padded = SIZES[target] - 1
    answer = np.array([7, 8, padded, 9], np.int32)
    tops = np.stack([answer, np.full(4, padded, np.int32), np.full(4, 11, np.int32)], 1)
    example = Example(
        Origin("a#0", "a", ""), np.array([5, padded], np.int32), answer, tops, np.full_like(tops, -1, np.float16)
    )
    fingerprint = Tokenizer.load(folders[target]).fingerprint
    info = DatasetInfo("tiny", "m", fingerprint, 320, TOP, 30, 0, "train")
    Dataset(tmp_path / "data", info).append([example, replace(example, origin=Origin("b#0", "b", ""))])
    config = DistilConfig(
        data=str(tmp_path / "data"),
        validation=str(tmp_path / "data"),
        out=str(tmp_path / "run"),
        target=str(folders[target]),
        student=StudentConfig(init=str(folders[draft])),
        top_k=TOP,
        steps=2,
        warmup=1,
        length=16,
        max_prompt=8,
        rows=1,
        validate_every=2,
        validation_answers=2,
        checkpoint_every=2,
        dtype="fp32",
        device="cpu",
        threads=1,
    )
    distiller = Distiller(config)
    distiller.run(lambda _: None, lambda _: None)
    distiller.export()
    assert read_config(tmp_path / "run").vocab_size == SIZES[draft]
