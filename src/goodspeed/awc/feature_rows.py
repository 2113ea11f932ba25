"""Rows of features: what AWC's network reads at some decisions of a scenario's clients."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from goodspeed.errors import ConfigError

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Decisions of a scenario's clients, without scaling."""

    clients: Integers  # [rows] index of the client
    features: Floats  # [rows, features]

    def to_bytes(self) -> bytes:
        """The npz file."""
        file = io.BytesIO()
        np.savez_compressed(file, clients=self.clients, features=self.features)
        return file.getvalue()


def read_rows(path: Path) -> FeatureRows:
    """Raises ConfigError for a file that holds no rows."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return FeatureRows(arrays["clients"], arrays["features"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} holds no features of `goodspeed awc collect`: {error}") from error


def joined(parts: Sequence[FeatureRows]) -> FeatureRows:
    """The rows of all parts, at least one."""
    return FeatureRows(
        np.concatenate([part.clients for part in parts]), np.concatenate([part.features for part in parts])
    )
