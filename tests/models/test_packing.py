"""A packed draft becomes an ordinary checkpoint, near to what was packed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.errors import CheckpointError
from goodspeed.models.assistant import ASSISTANT
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.models.draft_vocab import read_draft_vocab
from goodspeed.models.folder import read_json
from goodspeed.models.packing import (
    EMBEDDING,
    HEAD,
    UnpackedDraft,
    pack_draft,
    pack_embedding,
    unpack,
    unpack_embedding,
)
from goodspeed.models.sources import LocalFolder, PackedDraft
from goodspeed.models.tokenizer import Tokenizer

Checkpoints = Callable[..., Path]
KEPT = np.arange(5, 320, 7)


@pytest.fixture
def model(random_checkpoint: Checkpoints) -> Path:
    return random_checkpoint("llama", intermediate_size=128)


@pytest.fixture
def source(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PackedDraft:
    monkeypatch.setenv("GOODSPEED_CACHE", str(tmp_path / "cache"))
    weights = read_weights(model)
    embedding, head = weights.pop(EMBEDDING), weights.pop(HEAD)
    config = replace(read_config(model), tie_word_embeddings=False)
    draft = UnpackedDraft(config, {**weights, HEAD: head[KEPT]}, KEPT)
    files = tmp_path / "draft.safetensors", tmp_path / "embedding.safetensors"
    pack_draft(files[0], draft, bits=6)
    pack_embedding(files[1], embedding, KEPT, bits=(6, 3))
    return PackedDraft(*files, LocalFolder(model))


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.float() - expected).norm() / expected.norm())


def test_it_becomes_a_checkpoint_once(source: PackedDraft, model: Path) -> None:
    assert source.cached() is None
    folder = source.fetch(lambda _done, _total: None)
    assert source.cached() == source.fetch(lambda _done, _total: None) == folder
    expected, found = read_weights(model), read_weights(folder)
    for name, weight in expected.items():
        if name not in (EMBEDDING, HEAD):
            assert relative_error(found[name], weight) < 0.05, name
    assert relative_error(found[EMBEDDING][KEPT], expected[EMBEDDING][KEPT]) < 0.05
    assert 0.05 < relative_error(found[EMBEDDING], expected[EMBEDDING]) < 0.3
    assert relative_error(found[HEAD][KEPT], expected[HEAD][KEPT]) < 0.05
    torch.testing.assert_close(found[HEAD][0].float(), found[HEAD][KEPT].float().mean(0), atol=0.01, rtol=0.01)
    kept = read_draft_vocab(folder, 320)
    assert kept is not None
    assert kept.tolist() == KEPT.tolist()
    assert read_json(folder / "generation_config.json").items() >= ASSISTANT.items()
    assert Tokenizer.load(folder).fingerprint == Tokenizer.load(model).fingerprint


def test_damaged_file_is_named(source: PackedDraft) -> None:
    source.draft.write_bytes(source.draft.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"draft\.safetensors"):
        source.fetch(lambda _done, _total: None)


def test_file_that_is_no_draft_is_refused(source: PackedDraft, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"embedding\.safetensors is not a packed draft"):
        unpack(source.embedding, source.embedding, tmp_path / "folder")
    with pytest.raises(CheckpointError, match=r"draft\.safetensors: often is not a packed matrix"):
        unpack_embedding(source.draft)
