"""A data set on disk: a folder of safetensors shards and a manifest that lists the complete shards.

A shard is written under a temporary name, then renamed, then listed. Whenever a run is killed, every listed shard is
complete. A shard that is not listed is overwritten by the resumed run.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from goodspeed.errors import DataError
from goodspeed.tuning.data.example import Example, Origin, Rejected

FORMAT = 1
MANIFEST = "manifest.json"
RAGGED = ("tokens", "prompt_lengths", "answer_lengths", "top_tokens", "top_logprobs")
Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """The properties that two runs must share to write into one data set."""

    model: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    vocab_size: int
    """Tokens of the tokenizer; the target's vocabulary may have padding beyond them."""
    top_k: int
    max_tokens: int
    """Longest answer."""
    seed: int
    split: str
    """The purpose of the data set: train, validation or test."""


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One complete shard."""

    file: str
    num_bytes: int
    num_answers: int
    num_tokens: int  # of answers


@dataclass(slots=True)
class Dataset:
    """A data set that is read or written, by one writer at a time."""

    folder: Path
    info: DatasetInfo
    shards: list[ShardEntry] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Number of answers by "source/category"."""

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """An existing data set. Raises DataError if there is none, or if it has another format."""
        values = _read_manifest(folder / MANIFEST)
        try:
            info = DatasetInfo(**values["facts"])
            shards = [ShardEntry(**shard) for shard in values["shards"]]
            return cls(folder, info, shards, dict(values["counts"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} is not the manifest of a data set: {error}") from error

    @classmethod
    def open_or_create(cls, folder: Path, info: DatasetInfo) -> "Dataset":
        """The data set of this folder, or a new one. Raises DataError if the folder has one with other properties."""
        if not (folder / MANIFEST).exists():
            return cls(folder, info)
        found = cls.open(folder)
        for name, value in asdict(info).items():
            if (stored := asdict(found.info)[name]) != value:
                raise DataError(
                    f"{folder} was collected with {name} {stored!r}, this run has {value!r}; choose another folder"
                )
        return found

    @property
    def num_answers(self) -> int:
        """Number of answers in all shards."""
        return sum(shard.num_answers for shard in self.shards)

    @property
    def num_tokens(self) -> int:
        """Number of answer tokens in all shards."""
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def categories(self) -> frozenset[str]:
        """The categories of the answers; answers without a category count under their source."""
        kinds = (kind.partition("/") for kind in self.counts)
        return frozenset(category or source for source, _, category in kinds)

    def check_tokenizer(self, fingerprint: str, model: str) -> None:
        """Raises DataError unless the answers were tokenised by the tokenizer with this fingerprint."""
        if fingerprint != self.info.tokenizer_fingerprint:
            raise DataError(
                f"{self.folder} has tokens of tokenizer {self.info.tokenizer_fingerprint} ({self.info.model}), "
                f"{model} has {fingerprint}"
            )

    def append(self, examples: Sequence[Example]) -> None:
        """Write one more shard. Raises DataError if the disk is full or read-only; earlier shards remain."""
        name = f"shard-{len(self.shards):05d}.safetensors"
        content = save(
            _arrays(examples), metadata={"origins": json.dumps([asdict(example.origin) for example in examples])}
        )
        num_tokens = sum(len(example.answer) for example in examples)
        _write(self.folder / name, content)
        self.shards.append(ShardEntry(name, len(content), len(examples), num_tokens))
        for example in examples:
            kind = f"{example.origin.source}/{example.origin.category}"
            self.counts[kind] = self.counts.get(kind, 0) + 1
        manifest = {
            "format": FORMAT,
            "facts": asdict(self.info),
            "num_answers": self.num_answers,
            "num_tokens": self.num_tokens,
            "counts": self.counts,
            "shards": [asdict(shard) for shard in self.shards],
        }
        _write(self.folder / MANIFEST, json.dumps(manifest, indent=1).encode())

    def keys(self) -> set[str]:
        """The origin keys of all answers. Raises DataError for a damaged shard."""
        return {origin.key for shard in self.shards for origin in _read_shard(self.folder, shard)[0]}

    def examples(self) -> Iterator[Example]:
        """All answers in the order of collection. Raises DataError for a damaged shard."""
        for shard in self.shards:
            origins, arrays = _read_shard(self.folder, shard)
            yield from _split(origins, arrays)


def _arrays(examples: Sequence[Example]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {
        "tokens": np.concatenate([part for example in examples for part in (example.prompt, example.answer)]),
        "prompt_lengths": np.array([len(example.prompt) for example in examples], dtype=np.int32),
        "answer_lengths": np.array([len(example.answer) for example in examples], dtype=np.int32),
        "top_tokens": np.concatenate([example.top_tokens for example in examples]),
        "top_logprobs": np.concatenate([example.top_logprobs for example in examples]),
    }
    if any(example.weights is not None for example in examples):
        weights = [
            np.ones(len(example.answer), np.float32) if example.weights is None else example.weights
            for example in examples
        ]
        arrays["weights"] = np.concatenate(weights)
    rejected = [(i, draft.position, draft.token) for i, example in enumerate(examples) for draft in example.rejected]
    if rejected:
        arrays["rejected"] = np.array(rejected, dtype=np.int32)  # [m, 3]: answer, position, token
    return arrays


def _split(origins: Sequence[Origin], arrays: Arrays) -> Iterator[Example]:
    first_token = first_row = 0
    rejected = arrays.get("rejected", np.empty((0, 3), np.int32))
    lengths = zip(arrays["prompt_lengths"].tolist(), arrays["answer_lengths"].tolist(), strict=True)
    for i, (origin, (num_prompt, num_answer)) in enumerate(zip(origins, lengths, strict=True)):
        middle, rows = first_token + num_prompt, slice(first_row, first_row + num_answer)
        yield Example(
            origin,
            arrays["tokens"][first_token:middle],
            arrays["tokens"][middle : middle + num_answer],
            arrays["top_tokens"][rows],
            arrays["top_logprobs"][rows],
            arrays["weights"][rows] if "weights" in arrays else None,
            tuple(Rejected(position, token) for answer, position, token in rejected.tolist() if answer == i),
        )
        first_token, first_row = middle + num_answer, first_row + num_answer


def _read_shard(folder: Path, shard: ShardEntry) -> tuple[list[Origin], Arrays]:
    path = folder / shard.file
    try:
        if (size := path.stat().st_size) != shard.num_bytes:
            raise DataError(
                f"{path} has {size} bytes, the manifest says {shard.num_bytes}: it is truncated or not the listed shard"
            )
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.offset_keys()}
            origins = [Origin(**origin) for origin in json.loads((file.metadata() or {})["origins"])]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    num_tokens = arrays["answer_lengths"].sum() if set(RAGGED) <= set(arrays) else -1
    if len(origins) != shard.num_answers or num_tokens != shard.num_tokens:
        raise DataError(
            f"{path} has {len(origins)} answers, the manifest says {shard.num_answers}: it belongs to another data set"
        )
    return origins, arrays


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path.parent} has no data set: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{path} is not the manifest of a data set of format {FORMAT}")
    return values


def _write(path: Path, content: bytes) -> None:
    """Write the whole file or nothing."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error}; earlier shards remain") from error
