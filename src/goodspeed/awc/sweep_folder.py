"""The folder of a collection: a manifest, and two files per scenario, written atomically."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from goodspeed.awc.feature_rows import FeatureRows, joined, read_rows
from goodspeed.awc.scenarios import SamplingConfig
from goodspeed.awc.sweep_record import SweepRecord, read_record
from goodspeed.errors import ConfigError

SCHEMA = 1
MANIFEST = "collection.json"
ANSWERS, FEATURES = "answers", "features"


@dataclass(frozen=True, slots=True)
class CollectionManifest:
    """What all scenarios of a folder have in common."""

    schema: int
    sampling: SamplingConfig
    windows: tuple[int, ...]  # that were swept in remote mode


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """Stores the records of a collection."""

    path: Path

    def open(self, manifest: CollectionManifest) -> None:
        """Create the folder, or continue in it. Raises ConfigError for a folder with another collection."""
        for folder in (ANSWERS, FEATURES):
            (self.path / folder).mkdir(parents=True, exist_ok=True)
        if not (self.path / MANIFEST).exists():
            _write(self.path / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest)))
            return
        before = self.manifest()
        if before != manifest:
            raise ConfigError(f"{self.path} holds another collection: {before}, not {manifest}; choose another --out")

    def manifest(self) -> CollectionManifest:
        """Raises ConfigError for a folder without a collection."""
        try:
            return msgspec.json.decode((self.path / MANIFEST).read_bytes(), type=CollectionManifest)
        except (OSError, msgspec.DecodeError) as error:
            raise ConfigError(f"{self.path} holds no collection of `goodspeed awc collect`: {error}") from error

    def answered(self) -> list[int]:
        """The scenarios whose arms were swept, in ascending order."""
        return sorted(int(file.stem) for file in (self.path / ANSWERS).glob("*.npz"))

    def save_answers(self, index: int, record: SweepRecord) -> None:
        """Store the answers of a scenario."""
        _write(self._answers(index), record.to_bytes())

    def answers(self, index: int) -> SweepRecord:
        """Raises ConfigError for an invalid file."""
        return read_record(self._answers(index))

    def recorded(self, source: str) -> list[int]:
        """The scenarios that have features of this source, in ascending order."""
        return sorted(int(file.stem.split("-")[0]) for file in (self.path / FEATURES).glob(f"*-{source}.npz"))

    def complete(self) -> list[int]:
        """The scenarios that have answers and features, in ascending order."""
        recorded = {int(file.stem.split("-")[0]) for file in (self.path / FEATURES).glob("*.npz")}
        return [index for index in self.answered() if index in recorded]

    def save_features(self, index: int, source: str, rows: FeatureRows) -> None:
        """Store features of a scenario's decisions."""
        _write(self.path / FEATURES / f"{index:06}-{source}.npz", rows.to_bytes())

    def features(self, index: int) -> FeatureRows:
        """The features of all sources. Raises ConfigError if there are none, or a file is invalid."""
        files = sorted((self.path / FEATURES).glob(f"{index:06}-*.npz"))
        if not files:
            raise ConfigError(f"{self.path} has no features of scenario {index}: run `goodspeed awc collect` again")
        return joined([read_rows(file) for file in files])

    def digest(self, indices: Iterable[int]) -> str:
        """A digest of the answers of these scenarios, 16 hexadecimal digits."""
        total = hashlib.sha256()
        for index in indices:
            total.update(self._answers(index).read_bytes())
        return total.hexdigest()[:16]

    def _answers(self, index: int) -> Path:
        return self.path / ANSWERS / f"{index:06}.npz"


def _write(file: Path, content: bytes) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_bytes(content)
    unfinished.replace(file)
