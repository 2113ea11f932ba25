"""Draft models on the embedded decoder, beside a target on the same one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.engine.continued_drafts import (
    check_a_draft_in_pieces_is_the_whole,
    check_after_is_like_a_longer_prefix,
    check_commit_leaves_no_trace,
    check_commit_of_a_continued_draft,
)

from goodspeed.decoding.draft import DraftRequest
from goodspeed.decoding.rules import draft_choice, draft_probs_of, draw
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.co_located import CoLocatedConfig, co_located_drafts
from goodspeed.engine.draft_model import MAX_STREAM_INPUT, StreamInput
from goodspeed.engine.drafts import DraftConfig, draft_engine
from goodspeed.engine.interface import StreamSpec, TargetInfo
from goodspeed.engine.neural_draft import PROBS_SIZE
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.draft import TorchDraftModel
from goodspeed.engine.torch.loading import load_target
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import write_draft_vocab

Checkpoints = Callable[..., Path]
VOCAB_SIZE = 320
PROMPTS = [
    tuple(int(token) for token in np.random.default_rng(seed).integers(2, 320, 12 + 9 * seed)) for seed in range(4)
]
SAMPLINGS = [Sampling(), Sampling(0.8, seed=3, rule=Rule.COUPLED), Sampling(0.8, 16, seed=3, rule=Rule.REJECTION)]


@pytest.fixture(scope="module")
def folder(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("qwen3", num_hidden_layers=1)


def config(folder: Path, engine: str = "torch") -> DraftConfig:
    return DraftConfig(engine=engine, model=str(folder), dtype="fp32", device="cpu", kv_memory_mb=8)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_draft_that_is_the_target_is_accepted(folder: Path, sampling: Sampling) -> None:
    target = load_target(TargetConfig(str(folder), dtype="fp32", device="cpu", threads=1, kv_memory_mb=8))
    requests = [ReferenceRequest(prompt, 40, sampling) for prompt in PROMPTS]
    written = EnginePair(target, draft_engine(config(folder), VOCAB_SIZE)).generate(
        requests, DraftSchedule((3, 1, 5), 3)
    )
    num_accepted, num_proposed = (
        sum(getattr(text, f"num_{what}") for text in written) for what in ("accepted", "proposed")
    )
    assert num_proposed > 80
    # Rejection: what is sent is rounded to 16 bits, so that very little is lost.
    assert num_accepted >= num_proposed - (sampling.rule is Rule.REJECTION)


@pytest.mark.parametrize("name", ["torch", "hybrid"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_draft_is_continued_as_if_committed(folder: Path, name: str, sampling: Sampling) -> None:
    engine = draft_engine(config(folder, name), VOCAB_SIZE)
    check_after_is_like_a_longer_prefix(engine, PROMPTS[1], sampling, PROMPTS[2][:2])
    check_a_draft_in_pieces_is_the_whole(engine, PROMPTS[1], sampling)
    check_commit_leaves_no_trace(engine, PROMPTS[1], sampling, PROMPTS[2][:3])
    check_commit_of_a_continued_draft(engine, PROMPTS[1], sampling)


def test_co_located_stream_without_memory_drafts_by_lookup_and_table(folder: Path) -> None:
    """1 MB is room for some of the streams; the others draft as without a model, and are counted."""
    info = TargetInfo("toy", "", "", VOCAB_SIZE, 10**4, 10**5)
    target = TargetConfig(device="cpu", dtype="fp32", threads=1)
    with_model = co_located_drafts(CoLocatedConfig(model=str(folder), kv_memory_mb=1), target, info)
    without = co_located_drafts(CoLocatedConfig(), target, info)
    assert with_model
    assert without
    differ = []
    for stream in range(40):
        spec = StreamSpec(PROMPTS[3], Sampling(), 100, client=f"client {stream}")
        drafted = []
        for drafts in (with_model, without):
            drafts.open(stream, spec)
            drafts.commit(stream, (7,))
            drafted.append(drafts.draft([DraftRequest(stream, 4)])[0])
        differ.append(drafted[0] != drafted[1])
    assert differ == sorted(differ, reverse=True)  # the first streams have the memory
    assert 0 < sum(differ) < 40
    assert with_model.num_without_memory == 40 - sum(differ)


def test_pieces_read_like_the_whole(folder: Path) -> None:
    shape = read_config(folder)
    decoder = Decoder(read_weights(folder), shape, torch.float32, torch.device("cpu"))
    model = TorchDraftModel(decoder, shape.vocab_size, kv_capacity=256)
    tokens = PROMPTS[3]
    for stream in (1, 2):
        model.open(stream, 100)
    whole = model.run([StreamInput(1, 0, tokens)])[0]
    model.run([StreamInput(2, 0, (*tokens[:10], 9, 9, 9))])  # the last three are rejected
    beside = model.run([StreamInput(1, 5, tokens[5:20]), StreamInput(2, 10, tokens[10:])])[1]
    np.testing.assert_allclose(beside, whole, atol=1e-4)


def test_hybrid_takes_the_models_advice(folder: Path) -> None:
    """Without a match in the prompt or the table, only the draft model has a guess."""
    hybrid = draft_engine(config(folder, "hybrid"), VOCAB_SIZE)
    neural = draft_engine(config(folder), VOCAB_SIZE)
    prompt = list(range(2, 30))
    for engine in (hybrid, neural):
        engine.open(1, prompt, Sampling())
    request = [DraftRequest(1, 1)]
    assert hybrid.draft(request)[0].tokens == neural.draft(request)[0].tokens


def test_prompt_longer_than_the_models_context_gets_no_draft(random_checkpoint: Checkpoints) -> None:
    folder = random_checkpoint("llama", num_hidden_layers=1, max_position_embeddings=16)
    engine = draft_engine(config(folder), VOCAB_SIZE)
    engine.open(1, PROMPTS[0], Sampling())
    engine.open(2, PROMPTS[3], Sampling())
    drafts = engine.draft([DraftRequest(1, 8), DraftRequest(2, 8)])
    assert [len(draft.tokens) for draft in drafts] == [5, 0]
    assert MAX_STREAM_INPUT > 16


def test_checkpoint_of_a_smaller_vocabulary_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="has a vocabulary of 320, the target has 321"):
        draft_engine(config(folder), 321)


def test_missing_model_is_named() -> None:
    with pytest.raises(ConfigError, match="model is empty"):
        draft_engine(DraftConfig(engine="torch"), VOCAB_SIZE)


@pytest.mark.parametrize("engine", ["torch", "hybrid"])
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=lambda sampling: sampling.rule.name)
def test_reduced_head_drafts_the_best_of_its_tokens(
    folder: Path, tmp_path: Path, sampling: Sampling, engine: str
) -> None:
    kept = np.arange(2, VOCAB_SIZE, 3)
    shutil.copytree(folder, tmp_path / "reduced")
    write_draft_vocab(tmp_path / "reduced", kept.tolist())
    draft = draft_engine(config(tmp_path / "reduced", engine), VOCAB_SIZE)
    draft.open(1, PROMPTS[1], sampling)
    drafted = draft.draft([DraftRequest(1, 1)])[0]
    decoder = Decoder(read_weights(folder), read_config(folder), torch.float32, torch.device("cpu"))
    model = TorchDraftModel(decoder, VOCAB_SIZE, kv_capacity=256)
    model.open(1, 100)
    masked = np.full(VOCAB_SIZE, -np.inf, np.float32)
    masked[kept] = model.run([StreamInput(1, 0, PROMPTS[1])])[0, kept]
    if sampling.rule is Rule.REJECTION and engine == "torch":
        expected = draft_probs_of(masked, sampling, PROBS_SIZE)
        assert drafted.draft_probs[0].token_ids.tolist() == expected.token_ids.tolist()
        assert drafted.tokens == (draw(expected, sampling, len(PROMPTS[1]), len(PROMPTS[1])),)
    else:
        choosing = Sampling() if sampling.rule is Rule.REJECTION else sampling
        assert drafted.tokens == (draft_choice(masked, choosing, len(PROMPTS[1])),)
