"""The files of a model folder in the Hugging Face layout."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from goodspeed.errors import CheckpointError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
TOKENIZER_FILES = ("tokenizer*.json", "special_tokens_map.json", "chat_template*", "vocab.json", "merges.txt")
LFS_POINTER = b"version https://git-lfs"
JsonObject = Mapping[str, object]


def check_folder(folder: Path) -> None:
    """Raises CheckpointError unless the folder has a complete model: config, tokenizer and all weight files."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder")
    for name in ("config.json", "tokenizer.json"):
        if not (folder / name).exists():
            raise CheckpointError(f"{name} is missing in {folder}")
    weight_files(folder)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, sharded or not, sorted by name. Raises CheckpointError.

    If both forms are there, the single file counts, as in transformers.
    """
    if (folder / SINGLE_FILE).exists():
        return [folder / SINGLE_FILE]
    if (folder / INDEX_FILE).exists():
        return _shards(folder)
    raise CheckpointError(f"no weights: {folder} has neither {SINGLE_FILE} nor {INDEX_FILE}")


def read_json(path: Path) -> JsonObject:
    """The JSON object in the file. Raises CheckpointError if the file is missing or has other content."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        where = f"{path.parent} has none" if path.parent.is_dir() else f"{path.parent} is not a folder"
        raise CheckpointError(f"{path.name} is missing: {where}") from None
    except (OSError, ValueError) as error:
        raise unreadable(path, error) from error
    if not isinstance(values, dict):
        raise CheckpointError(f"{path} has a {type(values).__name__}, expected a JSON object")
    return values


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """The error for a damaged file. A clone of a repository without Git LFS has pointers instead of large files."""
    try:
        with path.open("rb") as file:
            is_pointer = file.read(len(LFS_POINTER)) == LFS_POINTER
    except OSError:
        is_pointer = False
    reason = "it is a Git LFS pointer, not the file itself; run: git lfs pull" if is_pointer else str(error)
    return CheckpointError(f"cannot read {path}: {reason}")


def write_json(path: Path, values: JsonObject) -> None:
    """Write an indented JSON object."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, folder: Path) -> None:
    """Copy the tokenizer's files and the chat template to another model folder. Raises OSError."""
    for pattern in TOKENIZER_FILES:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def _shards(folder: Path) -> list[Path]:
    index = folder / INDEX_FILE
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index}: weight_map is {type(weight_map).__name__}, expected names and files")
    names = sorted({str(name) for name in weight_map.values()})
    for name in names:
        if Path(name).name != name:
            raise CheckpointError(f"{index}: {name!r} is not a file name in this folder")
        if not (folder / name).exists():
            raise CheckpointError(f"shard {name} of {len(names)} is missing in {folder}")
    return [folder / name for name in names]
