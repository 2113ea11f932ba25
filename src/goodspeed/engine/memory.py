"""What a hybrid drafter has learned, as a file: its n-gram table, and its calibration."""

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.table import NgramTable
from goodspeed.errors import CheckpointError

FORMAT = 1


@dataclass(frozen=True, slots=True)
class DraftMemory:
    """A table and a calibration that was learned with it; `sources` names whom the calibration is about."""

    table: NgramTable
    calibration: Calibration
    sources: str
    """For instance "lookup+table": counts of one set of sources say nothing about another."""
    vocab_size: int

    def save(self, path: Path) -> None:
        """Write the file, wholly or not at all. Raises CheckpointError if it cannot be written."""
        arrays = {
            "format": np.array([FORMAT, self.vocab_size]),
            "sources": np.array(self.sources),
            **self.table.arrays(),
            **self.calibration.arrays(),
        }
        unfinished = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("wb") as file:
                np.savez_compressed(file, allow_pickle=False, **arrays)
            unfinished.replace(path)
        except OSError as error:
            raise CheckpointError(f"cannot write {path}: {error}") from error

    @classmethod
    def load(cls, path: Path, sources: str, vocab_size: int) -> "DraftMemory":
        """What save() wrote. A calibration of other sources is left out, and starts afresh.

        Raises CheckpointError if the file is missing, damaged, of another format or of another vocabulary.
        """
        arrays = _read(path)
        found = arrays.get("format", np.zeros(2)).tolist()
        if found != [FORMAT, vocab_size]:
            raise CheckpointError(f"{path} has [format, vocabulary] {found}, expected {[FORMAT, vocab_size]}")
        is_ours = str(arrays.get("sources")) == sources
        try:
            table = NgramTable.from_arrays(arrays, vocab_size)
            calibration = Calibration.from_arrays(arrays) if is_ours else Calibration()
        except CheckpointError as error:
            raise CheckpointError(f"{path}: {error}") from error
        return cls(table, calibration, sources, vocab_size)


def _read(path: Path) -> Mapping[str, npt.NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file.items())
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise CheckpointError(f"cannot read {path}: {error}") from error
