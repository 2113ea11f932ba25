"""A file of what a hybrid draft engine has learned: its n-gram table, and a calibration for each set of sources."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.ngram_table import NGramTable, without_padding
from goodspeed.errors import CheckpointError

FORMAT = 2
MAX_TRANSFERRED_TRIALS = 32.0
"""Trials per bucket that are taken over from another draft model: the buckets are the same, the rates differ."""


@dataclass(frozen=True, slots=True)
class DraftMemory:
    """An n-gram table and the calibrations that were learned with it."""

    table: NGramTable
    vocab_size: int
    tokenizer: str = ""
    """Fingerprint of the tokenizer of the tokens; empty if not known."""
    calibrations: Mapping[str, Calibration] = field(default_factory=dict)
    """By name of the sources: the draft engine and the draft model, if any ("hybrid", "hybrid my-draft")."""

    def calibration(self, sources: str) -> Calibration:
        """The calibration of these sources, or a faded one of the same engine with another model, or an empty one."""
        if sources in self.calibrations:
            return self.calibrations[sources]
        similar = [name for name in self.calibrations if _kind(name) == _kind(sources)]
        return self.calibrations[similar[-1]].faded(MAX_TRANSFERRED_TRIALS) if similar else Calibration()

    def save(self, path: Path) -> None:
        """Write the file atomically. Raises CheckpointError if it cannot be written."""
        arrays = {
            "format": np.array([FORMAT, self.vocab_size]),
            "tokenizer": np.array(self.tokenizer),
            "sources": np.array(list(self.calibrations), dtype=np.str_),
            **self.table.arrays(),
        }
        for number, calibration in enumerate(self.calibrations.values()):
            arrays |= {f"{name}_{number}": values for name, values in calibration.arrays().items()}
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            unfinished.replace(path)
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error}") from error

    @classmethod
    def load(cls, path: Path, vocab_size: int) -> "DraftMemory":
        """Read a file of save(). Raises CheckpointError if it is missing, damaged or for another vocabulary.

        A file that names its tokenizer may have padding: contexts with ids of `vocab_size` or more are left out.
        """
        arrays = _read(path)
        tokenizer = str(arrays.get("tokenizer", ""))
        found = arrays.get("format", np.zeros(2)).tolist()
        if found[:1] != [FORMAT] or (found != [FORMAT, vocab_size] and not tokenizer):
            raise CheckpointError(f"{path} has [format, vocabulary] {found}, expected {[FORMAT, vocab_size]}")
        arrays = without_padding(arrays, vocab_size) if tokenizer else arrays
        try:
            return cls(NGramTable.from_arrays(arrays, vocab_size), vocab_size, tokenizer, _calibrations(arrays))
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error


def tokenizer_of(path: Path) -> str:
    """The tokenizer fingerprint in a memory file, or "" if it has none. Reads nothing else. Raises CheckpointError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return str(file["tokenizer"]) if "tokenizer" in file else ""
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error


def check_tokenizer(path: Path, tokenizer: str) -> None:
    """Raises CheckpointError if the file is for another tokenizer. Passes if either fingerprint is not known."""
    found = tokenizer_of(path)
    if found and tokenizer and found != tokenizer:
        raise CheckpointError(f"{path} is for the tokenizer {found}, the target has {tokenizer}")


def _calibrations(arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Calibration]:
    names = [str(name) for name in arrays.get("sources", np.array([], dtype=np.str_)).tolist()]
    return {name: Calibration.from_arrays(_numbered(arrays, number)) for number, name in enumerate(names)}


def _numbered(arrays: Mapping[str, npt.NDArray[Any]], number: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays whose names end with this number, by the name without it."""
    return {key.removesuffix(f"_{number}"): values for key, values in arrays.items() if key.endswith(f"_{number}")}


def _kind(sources: str) -> tuple[str, bool]:
    engine, _, model = sources.partition(" ")
    return engine, bool(model)


def _read(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
