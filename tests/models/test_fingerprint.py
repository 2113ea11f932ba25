"""The model fingerprint: what must change it, and what must not."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from goodspeed.models.checkpoint import read_config, read_weights, write_checkpoint
from goodspeed.models.fingerprint import model_fingerprint


@pytest.fixture
def llama(random_checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy that a test may change, and a cache of its own."""
    monkeypatch.setenv("GOODSPEED_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(random_checkpoint("llama"), tmp_path / "model"))


def test_it_is_the_same_for_a_copy_elsewhere(llama: Path, tmp_path: Path) -> None:
    shutil.copytree(llama, tmp_path / "copy")
    assert model_fingerprint(tmp_path / "copy", "fp32") == model_fingerprint(llama, "fp32")


def test_precision_changes_it(llama: Path) -> None:
    assert model_fingerprint(llama, "fp32") != model_fingerprint(llama, "bf16")


def test_one_changed_weight_changes_it(llama: Path) -> None:
    before = model_fingerprint(llama, "fp32")
    weights = read_weights(llama)
    weights = {name: weight.clone() for name, weight in weights.items()}
    weights["model.norm.weight"][3] += 1
    write_checkpoint(llama, read_config(llama), weights)
    assert model_fingerprint(llama, "fp32") != before


def test_shape_changes_it_and_a_remark_does_not(llama: Path) -> None:
    path = llama / "config.json"
    before = model_fingerprint(llama, "fp32")
    path.write_text(path.read_text().replace('"transformers_version": "', '"transformers_version": "not '))
    assert model_fingerprint(llama, "fp32") == before
    path.write_text(path.read_text().replace('"rope_theta": 10000.0', '"rope_theta": 20000.0'))
    assert model_fingerprint(llama, "fp32") != before
