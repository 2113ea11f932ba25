"""Drafts by llama.cpp: what every draft engine promises, in a process that has no PyTorch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
from tests.engine.continued_drafts import (
    check_a_draft_in_pieces_is_the_whole,
    check_after_is_like_a_longer_prefix,
    check_commit_leaves_no_trace,
    check_commit_of_a_continued_draft,
)
from tests.gguf_files import VOCAB_SIZE, write_gguf

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.targets import target_engine
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.lossless.pair import DraftSchedule, EnginePair

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: pip install 'goodspeed[llama]'")

PROMPTS = [
    tuple(int(token) for token in np.random.default_rng(seed).integers(2, 320, 12 + 9 * seed)) for seed in range(4)
]
SAMPLINGS = [Sampling(), Sampling(0.8, seed=3, rule=Rule.COUPLED), Sampling(0.8, 16, seed=3, rule=Rule.REJECTION)]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "draft.gguf")


def config(path: Path, engine: str = "llama_cpp") -> DraftConfig:
    return DraftConfig(engine=engine, model=str(path), device="cpu", kv_memory_mb=1)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_draft_that_is_the_target_is_accepted(path: Path, sampling: Sampling) -> None:
    target = target_engine("llama_cpp", TargetConfig(str(path), device="cpu", threads=1, kv_memory_mb=1))
    requests = [ReferenceRequest(prompt, 40, sampling) for prompt in PROMPTS]
    pair = EnginePair(target, draft_engine(config(path), VOCAB_SIZE))
    texts = pair.generate(requests, DraftSchedule((3, 1, 5), 3))
    num_proposed = sum(text.num_proposed for text in texts)
    assert num_proposed > 80
    # The draft computes single rows, the target never does: F16 rounds differently. Rejection: 16 bits are sent.
    assert sum(text.num_accepted for text in texts) >= 0.95 * num_proposed


@pytest.mark.parametrize("engine", ["llama_cpp", "hybrid"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_draft_is_continued_as_if_committed(path: Path, engine: str, sampling: Sampling) -> None:
    drafts = draft_engine(config(path, engine), VOCAB_SIZE)
    check_after_is_like_a_longer_prefix(drafts, PROMPTS[1], sampling, PROMPTS[2][:2])
    check_a_draft_in_pieces_is_the_whole(drafts, PROMPTS[1], sampling)
    check_commit_leaves_no_trace(drafts, PROMPTS[1], sampling, PROMPTS[2][:3])
    check_commit_of_a_continued_draft(drafts, PROMPTS[1], sampling)


def test_hybrid_takes_the_advice_of_a_gguf_model(path: Path) -> None:
    """Without a match in the prompt or the table, only the draft model has a guess."""
    prompt, drafted = list(range(2, 30)), []
    for engine in ("hybrid", "llama_cpp"):
        drafts = draft_engine(config(path, engine), VOCAB_SIZE)
        drafts.open(1, prompt, Sampling())
        drafted.append(drafts.draft([DraftRequest(1, 1)])[0].tokens)
    assert drafted[0] == drafted[1] != ()


def test_stream_without_memory_gets_no_drafts_of_the_model(path: Path) -> None:
    """The smallest cache of 1 MB holds seven streams of 512 tokens or, here, 256: the model's context."""
    drafts = draft_engine(config(path), VOCAB_SIZE)
    for stream in range(20):
        drafts.open(stream, PROMPTS[0], Sampling())
    drafted = drafts.draft([DraftRequest(stream, 2) for stream in range(20)])
    lengths = [len(draft.tokens) for draft in drafted]
    assert lengths == sorted(lengths, reverse=True)
    assert (lengths[0], lengths[-1]) == (2, 0)
    for stream in range(20):
        drafts.close(stream)
    drafts.open(20, PROMPTS[0], Sampling())
    assert len(drafts.draft([DraftRequest(20, 2)])[0].tokens) == 2


def test_engine_that_is_replaced_frees_its_memory(path: Path) -> None:
    """A drafter that replaces its draft engine drops the old one; 24 caches of 64 MB would not go unnoticed."""
    big = replace(config(path), kv_memory_mb=64)
    draft_engine(big, VOCAB_SIZE).open(1, PROMPTS[0], Sampling())
    before = psutil.Process().memory_info().rss
    for _ in range(24):
        draft_engine(big, VOCAB_SIZE).open(1, PROMPTS[0], Sampling())
    assert psutil.Process().memory_info().rss - before < 8 * 64 * 2**20


def test_model_of_a_smaller_vocabulary_is_refused(path: Path) -> None:
    with pytest.raises(CheckpointError, match="has a vocabulary of 320, the target has 321"):
        draft_engine(config(path), 321)


def test_missing_model_is_named() -> None:
    with pytest.raises(ConfigError, match="model is empty, expected a GGUF file that drafts"):
        draft_engine(DraftConfig(engine="llama_cpp"), VOCAB_SIZE)


@pytest.mark.parametrize("engine", ["llama_cpp", "hybrid"])
def test_device_without_torch_drafts(path: Path, engine: str) -> None:
    code = f"""
import sys
sys.modules["torch"] = None
from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.drafts import DraftConfig, draft_engine
drafts = draft_engine(DraftConfig(engine={engine!r}, model={str(path)!r}, kv_memory_mb=1), {VOCAB_SIZE})
drafts.open(1, range(2, 30), Sampling())
print(len(drafts.draft([DraftRequest(1, 4)])[0].tokens))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "4\n", result.stderr


def test_runtime_that_is_asked_for_is_used(path: Path) -> None:
    """The torch runtime converts a GGUF file; this one has a tokenizer that needs no PyTorch, so loading says why."""
    code = f"""
import sys
sys.modules["torch"] = None
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.errors import ConfigError
try:
    draft_engine(DraftConfig(model={str(path)!r}, runtime="torch"), {VOCAB_SIZE})
except ConfigError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("this engine needs the extra 'torch'"), result.stderr
