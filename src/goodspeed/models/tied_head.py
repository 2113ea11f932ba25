"""Whether a checkpoint whose config.json ties head and embedding has a head of its own after all. Imports no torch."""

import json
import struct
from dataclasses import dataclass
from pathlib import Path

from goodspeed.models.folder import INDEX_FILE, SINGLE_FILE, weight_files

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
CHUNK = 1 << 24  # bytes that are compared at once


@dataclass(frozen=True, slots=True)
class _Stored:
    """A tensor in a safetensors file."""

    path: Path
    kind: tuple[object, object]  # dtype and shape
    start: int
    end: int  # bytes in the file


def has_own_head(folder: Path) -> bool:
    """True if the weights hold a head that differs from the embedding. False if they are missing or damaged."""
    if not (folder / SINGLE_FILE).exists() and not (folder / INDEX_FILE).exists():
        return False
    stored = {name: found for path in weight_files(folder) for name, found in _find(path).items()}
    return {EMBEDDING, HEAD} <= stored.keys() and not _is_equal(stored[EMBEDDING], stored[HEAD])


def _find(path: Path) -> dict[str, _Stored]:
    """The embedding and the head, if this file has them."""
    try:
        with path.open("rb") as file:
            (num_header,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(num_header, path.stat().st_size)))
        return {
            name: _Stored(
                path,
                (header[name]["dtype"], header[name]["shape"]),
                *(8 + num_header + offset for offset in header[name]["data_offsets"]),
            )
            for name in (EMBEDDING, HEAD)
            if name in header
        }
    except (OSError, ValueError, TypeError, KeyError, struct.error):
        return {}  # reading the weights says what is wrong with the file


def _is_equal(left: _Stored, right: _Stored) -> bool:
    if left.kind != right.kind:
        return False
    with left.path.open("rb") as left_file, right.path.open("rb") as right_file:
        left_file.seek(left.start)
        right_file.seek(right.start)
        sizes = (min(CHUNK, left.end - at) for at in range(left.start, left.end, CHUNK))
        return all(left_file.read(size) == right_file.read(size) for size in sizes)
