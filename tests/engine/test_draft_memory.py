"""What a drafter has learned survives a restart; a file that cannot be trusted is refused with its reason."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.draft_memory import DraftMemory, check_tokenizer, tokenizer_of
from goodspeed.engine.draft_source import EVIDENCE_BITS
from goodspeed.engine.ngram_table import NGramTable
from goodspeed.errors import CheckpointError


def learned(sources: str = "hybrid") -> DraftMemory:
    table, calibration = NGramTable(64), Calibration()
    table.learn([1, 2, 3, 4], 0)
    for _ in range(100):
        calibration.observe((1, 2, 3), is_right=True)
    return DraftMemory(table, vocab_size=100, tokenizer="abc", calibrations={sources: calibration})


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = learned()
    memory.save(tmp_path / "deep" / "memory.npz")
    again = DraftMemory.load(tmp_path / "deep" / "memory.npz", 100)
    assert again.table.guess([1, 2]) == memory.table.guess([1, 2])
    there, here = (kept.calibration("hybrid").confidence((1, 2, 3), 0.1) for kept in (memory, again))
    assert there == here
    assert again.tokenizer == tokenizer_of(tmp_path / "deep" / "memory.npz") == "abc"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["memory.npz"]


def test_calibration_of_other_sources_starts_afresh(tmp_path: Path) -> None:
    learned("table").save(tmp_path / "memory.npz")
    again = DraftMemory.load(tmp_path / "memory.npz", 100)
    assert len(again.calibration("hybrid")) == 0
    assert again.table.guess([1, 2]) is not None


def test_calibration_of_another_model_is_a_weak_prior(tmp_path: Path) -> None:
    learned("hybrid old-draft").save(tmp_path / "memory.npz")
    calibration = DraftMemory.load(tmp_path / "memory.npz", 100).calibration("hybrid new-draft")
    assert calibration.confidence((1,), 0.1) > 0.6
    for _ in range(64):
        calibration.observe((1,), is_right=False)
    assert calibration.confidence((1,), 0.1) < 0.4


def test_every_set_of_sources_has_its_own_calibration(tmp_path: Path) -> None:
    own, other = Calibration(), Calibration()
    own.observe((1,), is_right=True)
    other.observe((2,), is_right=False)
    DraftMemory(NGramTable(64), 100, "abc", {"hybrid": own, "table": other}).save(tmp_path / "memory.npz")
    again = DraftMemory.load(tmp_path / "memory.npz", 100)
    assert again.calibration("hybrid").arrays()["buckets"].tolist() == [1]
    assert again.calibration("table").arrays()["buckets"].tolist() == [2]


def test_another_tokenizer_is_refused_if_both_fingerprints_are_known(tmp_path: Path) -> None:
    learned().save(tmp_path / "memory.npz")
    check_tokenizer(tmp_path / "memory.npz", "abc")
    check_tokenizer(tmp_path / "memory.npz", "")
    with pytest.raises(CheckpointError, match="for the tokenizer abc, the target has xyz"):
        check_tokenizer(tmp_path / "memory.npz", "xyz")


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty", "missing", "pickle"])
def test_damaged_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "memory.npz"
    learned().save(path)
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    elif damage == "pickle":
        np.save(path.with_suffix(".npy"), np.array([{}], dtype=object))
        path.with_suffix(".npy").rename(path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "garbage": bytes(range(200)), "empty": b""}[damage])
    with pytest.raises(CheckpointError, match=r"memory\.npz"):
        DraftMemory.load(path, 100)


def test_other_vocabulary_is_refused(tmp_path: Path) -> None:
    replace(learned(), tokenizer="").save(tmp_path / "memory.npz")
    with pytest.raises(CheckpointError, match=r"\[2, 100\], expected \[2, 99\]"):
        DraftMemory.load(tmp_path / "memory.npz", 99)


def test_contexts_with_padding_are_left_out(tmp_path: Path) -> None:
    """vllm#7252: a target may pad its vocabulary further than a drafter's tokenizer goes."""
    memory = DraftMemory(NGramTable(64), 384, "abc")
    memory.table.learn([1, 2, 3, 380, 5], 1)
    memory.save(tmp_path / "memory.npz")
    table = DraftMemory.load(tmp_path / "memory.npz", 320).table
    assert table.guess([1, 2]) == memory.table.guess([1, 2]) != 0
    assert memory.table.guess([1, 2, 3]) >> EVIDENCE_BITS == 380
    assert table.guess([1, 2, 3]) == 0


def test_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        learned().save(tmp_path / "file" / "memory.npz")
