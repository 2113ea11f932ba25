"""A sweep's folder: one file for each replication that is done, written wholly or not at all."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from goodspeed.errors import ConfigError
from goodspeed.experiment.grid import GridCell
from goodspeed.experiment.metrics import RunMetrics

SCHEMA = 1
MANIFEST = "sweep.json"
DONE = "cells"
Kind = TypeVar("Kind")


@dataclass(frozen=True, slots=True)
class SweepManifest:
    """What every cell of the folder shares."""

    schema: int
    scenario: dict[str, Any]  # the file's values
    warm_up: str


@dataclass(frozen=True, slots=True)
class CellFolder:
    """Where a sweep keeps what it has."""

    path: Path

    def open(self, manifest: SweepManifest, is_resumed: bool) -> None:
        """Raises ConfigError for a folder that is in use and not to be resumed, or that is of another scenario."""
        file, done = self.path / MANIFEST, self.path / DONE
        done.mkdir(parents=True, exist_ok=True)
        if not any(done.iterdir()):
            _write(file, msgspec.json.format(msgspec.json.encode(manifest)))
            return
        if not is_resumed:
            raise ConfigError(f"{self.path} holds a sweep already: --resume goes on with it")
        _check_same(_read(file, SweepManifest), manifest, self.path)

    def find(self, cell: GridCell, seed: int) -> RunMetrics | None:
        """What save() wrote; None if there is nothing. Raises ConfigError for a file of another kind."""
        file = self._file(cell, seed)
        return _read(file, RunMetrics) if file.exists() else None

    def save(self, cell: GridCell, metrics: RunMetrics) -> None:
        """Keep a replication's metrics."""
        _write(self._file(cell, metrics.seed), msgspec.json.encode(metrics))

    def _file(self, cell: GridCell, seed: int) -> Path:
        return self.path / DONE / f"{_digest(cell)}-{seed}.json"


def _digest(cell: GridCell) -> str:
    """Of the settings whatever their order, so that axes may change places."""
    settings = msgspec.json.encode(sorted(cell.settings, key=lambda setting: setting[0]))
    return hashlib.sha256(settings).hexdigest()[:16]


def _write(file: Path, content: bytes) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(file)


def _read(file: Path, kind: type[Kind]) -> Kind:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError) as error:
        raise ConfigError(f"{file} is no part of a sweep: {error}") from error


def _check_same(old: SweepManifest, new: SweepManifest, folder: Path) -> None:
    if old.schema != new.schema:
        raise ConfigError(f"{folder} is of schema {old.schema}, expected {new.schema}: choose another --output")
    before, after = ({"warm_up": one.warm_up, **dict(leaves(one.scenario))} for one in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            raise ConfigError(
                f"{folder} is of another scenario: {key} was {before.get(key)!r} and is {after.get(key)!r}; "
                "choose another --output, or undo the change"
            )


def leaves(values: Mapping[str, Any] | list[Any], above: str = "") -> list[tuple[str, Any]]:
    """(key path, value) of nested tables, lists of tables included."""
    entries = values.items() if isinstance(values, Mapping) else enumerate(values)
    found: list[tuple[str, Any]] = []
    for key, value in entries:
        is_table = isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(one, Mapping) for one in value)
        )
        found += leaves(value, f"{above}{key}.") if is_table else [(f"{above}{key}", value)]
    return found
