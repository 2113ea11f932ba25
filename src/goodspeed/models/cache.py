"""The folder on this machine where converted models and file digests are kept."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from goodspeed.errors import CheckpointError


def cache_folder() -> Path:
    """$GOODSPEED_CACHE, else goodspeed in $XDG_CACHE_HOME, else ~/.cache/goodspeed. It need not exist yet."""
    if own := os.environ.get("GOODSPEED_CACHE"):
        return Path(own).expanduser()
    if shared := os.environ.get("XDG_CACHE_HOME"):
        return Path(shared) / "goodspeed"
    return Path.home() / ".cache" / "goodspeed"


def fill(folder: Path, write: Callable[[Path], None]) -> None:
    """Make `folder` by `write(an empty folder)`, whole or not at all; of two that do so at once, one is kept.

    Raises CheckpointError if the disk does not let us.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as scratch:
            made = Path(scratch) / folder.name
            made.mkdir()
            write(made)
            _move(made, folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of the file in hex; computed once, and remembered until its size, time or inode changes.

    Raises CheckpointError if the file cannot be read.
    """
    try:
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        known = _read_digests()
        key = str(path.resolve())
        if known.get(key, [])[:3] != state:
            with path.open("rb") as file:
                known[key] = [*state, hashlib.file_digest(file, "sha256").hexdigest()]
            _write_digests(known)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return str(known[key][3])


def _move(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(made)  # another process was faster, with the same content


def _read_digests() -> dict[str, Sequence[object]]:
    """Path to [size, mtime in ns, inode, digest]; a lost or broken file only costs time."""
    try:
        values = json.loads((cache_folder() / "digests.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: entry for key, entry in values.items() if len(entry) == 4} if isinstance(values, dict) else {}


def _write_digests(digests: dict[str, Sequence[object]]) -> None:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(digests, file, indent=1)
        Path(name).replace(folder / "digests.json")
    except OSError:
        return  # a read-only home: the digest is computed again next time
