"""What a drafter has learned survives a restart; a file that cannot be trusted is refused with its reason."""

from pathlib import Path

import numpy as np
import pytest

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.memory import DraftMemory
from goodspeed.engine.table import NgramTable
from goodspeed.errors import CheckpointError


def learned(sources: str = "hybrid") -> DraftMemory:
    memory = DraftMemory(NgramTable(64), Calibration(), sources, vocab_size=100)
    memory.table.learn([1, 2, 3, 4], 0)
    memory.calibration.observe((1, 2, 3), is_right=True)
    return memory


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = learned()
    memory.save(tmp_path / "deep" / "memory.npz")
    again = DraftMemory.load(tmp_path / "deep" / "memory.npz", "hybrid", 100)
    assert again.table.guess([1, 2]) == memory.table.guess([1, 2])
    assert again.calibration.confidence((1, 2, 3), 0.1) == memory.calibration.confidence((1, 2, 3), 0.1)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["memory.npz"]


def test_calibration_of_other_sources_starts_afresh(tmp_path: Path) -> None:
    learned("table").save(tmp_path / "memory.npz")
    again = DraftMemory.load(tmp_path / "memory.npz", "hybrid", 100)
    assert len(again.calibration) == 0
    assert again.table.guess([1, 2]) is not None


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
        DraftMemory.load(path, "hybrid", 100)


def test_other_vocabulary_is_refused(tmp_path: Path) -> None:
    learned().save(tmp_path / "memory.npz")
    with pytest.raises(CheckpointError, match=r"\[1, 100\], expected \[1, 99\]"):
        DraftMemory.load(tmp_path / "memory.npz", "hybrid", 99)


def test_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write"):
        learned().save(tmp_path / "file" / "memory.npz")
