"""The folder of a sweep or of a capacity search: one file per finished replication, written atomically."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from goodspeed.errors import ConfigError
from goodspeed.experiment.grid import GridCell

SCHEMA = 2
CELLS = "cells"
Kind = TypeVar("Kind")
Record = TypeVar("Record")


@dataclass(frozen=True, slots=True)
class SweepManifest:
    """What all cells in the folder have in common."""

    schema: int
    scenario: dict[str, Any]  # the values of the scenario file
    warm_up: str


@dataclass(frozen=True, slots=True)
class CellFolder(Generic[Record]):
    """Stores records of replications."""

    path: Path
    record: type[Record]
    name: str = "sweep"
    """What the folder holds, and the name of its manifest."""

    def open(self, manifest: SweepManifest, is_resumed: bool) -> None:
        """Raises ConfigError for a folder that holds something else, or the same without `is_resumed`."""
        file, cells = self.path / f"{self.name.replace(' ', '_')}.json", self.path / CELLS
        cells.mkdir(parents=True, exist_ok=True)
        if not any(cells.iterdir()):
            _write(file, msgspec.json.format(msgspec.json.encode(manifest)))
            return
        if not is_resumed:
            raise ConfigError(f"{self.path} already holds a {self.name}: --resume continues it")
        _check_same(self._read(file, SweepManifest), manifest, self.path)

    def find(self, cell: GridCell, seed: int) -> Record | None:
        """The stored record; None if there is none. Raises ConfigError for an invalid file."""
        file = self._file(cell, seed)
        return self._read(file, self.record) if file.exists() else None

    def save(self, cell: GridCell, seed: int, record: Record) -> None:
        """Store the record of a replication."""
        _write(self._file(cell, seed), msgspec.json.encode(record))

    def _file(self, cell: GridCell, seed: int) -> Path:
        return self.path / CELLS / f"{_digest(cell)}-{seed}.json"

    def _read(self, file: Path, kind: type[Kind]) -> Kind:
        try:
            return msgspec.json.decode(file.read_bytes(), type=kind)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{file} is not part of a {self.name}: {error}") from error


def _digest(cell: GridCell) -> str:
    """A digest of the settings that does not depend on the order of the axes."""
    settings = msgspec.json.encode(sorted(cell.settings, key=lambda setting: setting[0]))
    return hashlib.sha256(settings).hexdigest()[:16]


def _write(file: Path, content: bytes) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(file)


def _check_same(old: SweepManifest, new: SweepManifest, folder: Path) -> None:
    if old.schema != new.schema:
        raise ConfigError(f"{folder} has schema {old.schema}, expected {new.schema}: choose another --output")
    before, after = ({"warm_up": each.warm_up, **dict(leaves(each.scenario))} for each in (old, new))
    for key in sorted(before.keys() | after.keys()):
        if before.get(key) != after.get(key):
            raise ConfigError(
                f"{folder} belongs to another scenario: {key} was {before.get(key)!r} and is {after.get(key)!r}; "
                "choose another --output, or undo the change"
            )


def leaves(values: Mapping[str, Any] | list[Any], above: str = "") -> list[tuple[str, Any]]:
    """The (key path, value) pairs of nested tables and lists of tables."""
    entries = values.items() if isinstance(values, Mapping) else enumerate(values)
    pairs: list[tuple[str, Any]] = []
    for key, value in entries:
        is_table = isinstance(value, Mapping) or (
            isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value)
        )
        pairs += leaves(value, f"{above}{key}.") if is_table else [(f"{above}{key}", value)]
    return pairs
