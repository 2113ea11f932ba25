"""The cache folder for converted models and file digests."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from goodspeed.errors import CheckpointError


def cache_folder() -> Path:
    """$GOODSPEED_CACHE, or else $XDG_CACHE_HOME/goodspeed, or else ~/.cache/goodspeed. It may not exist yet."""
    if configured := os.environ.get("GOODSPEED_CACHE"):
        return Path(configured).expanduser()
    if xdg_cache := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg_cache) / "goodspeed"
    return Path.home() / ".cache" / "goodspeed"


def fill(folder: Path, write: Callable[[Path], None]) -> None:
    """Create `folder` atomically by `write(empty folder)`; if two processes do so at once, one result is kept.

    Raises CheckpointError if the folder cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".partial-", dir=folder.parent) as scratch:
            new = Path(scratch) / folder.name
            new.mkdir()
            write(new)
            _move(new, folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error}") from error


def file_digest(path: Path) -> str:
    """SHA-256 of the file in hex; cached until the size, time or inode of the file changes.

    Raises CheckpointError if the file cannot be read.
    """
    try:
        stat = path.stat()
        version = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
        digests = _read_digests()
        key = str(path.resolve())
        if digests.get(key, [])[:3] != version:
            with path.open("rb") as file:
                digests[key] = [*version, hashlib.file_digest(file, "sha256").hexdigest()]
            _write_digests(digests)
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
    return str(digests[key][3])


def _move(new: Path, folder: Path) -> None:
    try:
        new.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        shutil.rmtree(new)  # another process has written the same content


def _read_digests() -> dict[str, Sequence[object]]:
    """{path: [size, mtime in ns, inode, digest]}; empty if the file is missing or damaged."""
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
        return  # read-only cache: the digest is computed again next time
