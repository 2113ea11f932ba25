"""A reduced vocabulary is read as it was written, and what cannot be one is refused."""

from pathlib import Path

import pytest

from goodspeed.errors import CheckpointError
from goodspeed.models.draft_vocab import read_draft_vocab, write_draft_vocab


def test_ids_come_back(tmp_path: Path) -> None:
    assert read_draft_vocab(tmp_path, 100) is None
    write_draft_vocab(tmp_path, [3, 7, 99])
    found = read_draft_vocab(tmp_path, 100)
    assert found is not None
    assert found.tolist() == [3, 7, 99]


@pytest.mark.parametrize("text", ['{"kept": []}', '{"kept": [2, 1]}', '{"kept": [1, 100]}', '{"kept": ["a"]}', "{}"])
def test_invalid_draft_vocabulary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "draft_vocab.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"draft_vocab\.json"):
        read_draft_vocab(tmp_path, 100)
