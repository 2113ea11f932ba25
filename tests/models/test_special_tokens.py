"""End tokens, from files that may disagree."""

import json
from pathlib import Path

import pytest

from goodspeed.errors import CheckpointError
from goodspeed.models.special_tokens import end_token_conflict, read_end_tokens

TOKENIZER = {
    "added_tokens": [{"id": 5, "content": "<|im_end|>"}, {"id": 6, "content": "</s>"}],
    "model": {"vocab": {"<eos>": 4}},
}
NAMES = {"generation": "generation_config.json", "config": "config.json", "tokenizer": "tokenizer_config.json"}


def folder_with(folder: Path, **files: object) -> Path:
    """`tokenizer` is the tokenizer's eos_token, the others are eos_token_id."""
    (folder / "tokenizer.json").write_text(json.dumps(TOKENIZER))
    for name, end in files.items():
        key = "eos_token" if name == "tokenizer" else "eos_token_id"
        (folder / NAMES[name]).write_text(json.dumps({key: end}))
    return folder


@pytest.mark.parametrize(
    ("files", "expected", "is_reported"),
    [
        ({}, (), False),
        ({"tokenizer": "<|im_end|>"}, (5,), False),  # mlx-vlm#2112
        ({"tokenizer": {"content": "<|im_end|>"}, "config": None}, (5,), False),
        ({"tokenizer": "<eos>"}, (4,), False),
        ({"tokenizer": "<unknown>", "config": 6}, (6,), False),
        ({"config": 7}, (7,), False),
        ({"generation": [9, 8, 9], "config": 8}, (9, 8), False),
        ({"generation": [9, 8], "config": 7}, (9, 8, 7), True),
        ({"generation": 6, "config": 6, "tokenizer": "<|im_end|>"}, (6, 5), True),  # open-r1#663
    ],
)
def test_end_tokens_of_all_files_are_joined(
    tmp_path: Path, files: dict[str, object], expected: tuple[int, ...], is_reported: bool
) -> None:
    folder = folder_with(tmp_path, **files)
    assert read_end_tokens(folder) == expected
    conflict = end_token_conflict(folder)
    assert bool(conflict) == is_reported
    assert all(NAMES[name] in conflict for name in files if is_reported)


@pytest.mark.parametrize("end", ["</s>", [1, "</s>"], True])
def test_end_token_that_is_no_id_is_refused(tmp_path: Path, end: object) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json: eos_token_id is .*, expected token ids"):
        read_end_tokens(folder_with(tmp_path, config=end))
