"""A data set on disk: a folder of safetensors shards and a manifest, which lists the shards that are whole.

A shard is written under another name, then renamed, then listed. So whatever kills a run, what the manifest lists is
there and complete; a shard that it does not list is overwritten by the run that goes on.
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
    """What must be equal for two runs to write into one data set."""

    model: str
    model_fingerprint: str
    tokenizer_fingerprint: str
    vocab_size: int
    top_k: int
    max_tokens: int
    """Longest answer."""
    seed: int
    split: str
    """What the data set is for: train, validation, test."""


@dataclass(frozen=True, slots=True)
class ShardEntry:
    """One shard that is whole."""

    file: str
    num_bytes: int
    num_answers: int
    num_tokens: int
    """Of answers."""


@dataclass(slots=True)
class Dataset:
    """A data set that is being read or written; one writer at a time."""

    folder: Path
    facts: DatasetInfo
    shards: list[ShardEntry] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    """Answers by source and category, "source/category"."""

    @classmethod
    def open(cls, folder: Path) -> "Dataset":
        """A data set that is there. Raises DataError if it is none, or of another format."""
        values = _read_manifest(folder / MANIFEST)
        try:
            facts = DatasetInfo(**values["facts"])
            shards = [ShardEntry(**shard) for shard in values["shards"]]
            return cls(folder, facts, shards, dict(values["counts"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"{folder / MANIFEST} is no manifest of a data set: {error}") from error

    @classmethod
    def begin(cls, folder: Path, facts: DatasetInfo) -> "Dataset":
        """A new data set, or the one that is there, to go on with. Raises DataError if that is a different one."""
        if not (folder / MANIFEST).exists():
            return cls(folder, facts)
        found = cls.open(folder)
        for name, wanted in asdict(facts).items():
            if (there := asdict(found.facts)[name]) != wanted:
                raise DataError(f"{folder} was collected with {name} {there!r}, this run has {wanted!r}; name another")
        return found

    @property
    def num_answers(self) -> int:
        """Answers in all shards."""
        return sum(shard.num_answers for shard in self.shards)

    @property
    def num_tokens(self) -> int:
        """ScoredAnswer tokens in all shards."""
        return sum(shard.num_tokens for shard in self.shards)

    @property
    def categories(self) -> frozenset[str]:
        """Of the answers; the source stands for the category of those that have none."""
        kinds = (kind.partition("/") for kind in self.counts)
        return frozenset(category or source for source, _, category in kinds)

    def check_tokenizer(self, fingerprint: str, model: str) -> None:
        """Raises DataError unless the answers are in that tokenizer's tokens."""
        if fingerprint != self.facts.tokenizer_fingerprint:
            raise DataError(
                f"{self.folder} has tokens of tokenizer {self.facts.tokenizer_fingerprint} ({self.facts.model}), "
                f"{model} has {fingerprint}"
            )

    def append(self, examples: Sequence[Example]) -> None:
        """One more shard. Raises DataError if the disk does not let us; what was there before stays."""
        name = f"shard-{len(self.shards):05d}.safetensors"
        content = save(_arrays(examples), metadata={"origins": json.dumps([asdict(one.origin) for one in examples])})
        num_tokens = sum(len(one.answer) for one in examples)
        _write(self.folder / name, content)
        self.shards.append(ShardEntry(name, len(content), len(examples), num_tokens))
        for one in examples:
            kind = f"{one.origin.source}/{one.origin.category}"
            self.counts[kind] = self.counts.get(kind, 0) + 1
        manifest = {
            "format": FORMAT,
            "facts": asdict(self.facts),
            "num_answers": self.num_answers,
            "num_tokens": self.num_tokens,
            "counts": self.counts,
            "shards": [asdict(shard) for shard in self.shards],
        }
        _write(self.folder / MANIFEST, json.dumps(manifest, indent=1).encode())

    def keys(self) -> set[str]:
        """Of all answers that are here. Raises DataError for a damaged shard."""
        return {origin.key for shard in self.shards for origin in _read_shard(self.folder, shard)[0]}

    def examples(self) -> Iterator[Example]:
        """All answers in the order of collection. Raises DataError for a damaged shard."""
        for shard in self.shards:
            origins, arrays = _read_shard(self.folder, shard)
            yield from _split(origins, arrays)


def _arrays(examples: Sequence[Example]) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {
        "tokens": np.concatenate([part for one in examples for part in (one.prompt, one.answer)]),
        "prompt_lengths": np.array([len(one.prompt) for one in examples], dtype=np.int32),
        "answer_lengths": np.array([len(one.answer) for one in examples], dtype=np.int32),
        "top_tokens": np.concatenate([one.top_tokens for one in examples]),
        "top_logprobs": np.concatenate([one.top_logprobs for one in examples]),
    }
    if any(one.weights is not None for one in examples):
        weights = [np.ones(len(one.answer), np.float32) if one.weights is None else one.weights for one in examples]
        arrays["weights"] = np.concatenate(weights)
    rejected = [(i, each.place, each.token) for i, one in enumerate(examples) for each in one.rejected]
    if rejected:
        arrays["rejected"] = np.array(rejected, dtype=np.int32)  # [m, 3]: answer, place, token
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
            tuple(Rejected(place, token) for answer, place, token in rejected.tolist() if answer == i),
        )
        first_token, first_row = middle + num_answer, first_row + num_answer


def _read_shard(folder: Path, shard: ShardEntry) -> tuple[list[Origin], Arrays]:
    path = folder / shard.file
    try:
        if (size := path.stat().st_size) != shard.num_bytes:
            raise DataError(f"{path} has {size} bytes, the manifest says {shard.num_bytes}: it is truncated or foreign")
        with safe_open(path, framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.offset_keys()}
            origins = [Origin(**origin) for origin in json.loads((file.metadata() or {})["origins"])]
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    num_tokens = arrays["answer_lengths"].sum() if set(RAGGED) <= set(arrays) else -1
    if len(origins) != shard.num_answers or num_tokens != shard.num_tokens:
        raise DataError(f"{path} has {len(origins)} answers, the manifest says {shard.num_answers}: it is foreign")
    return origins, arrays


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path.parent} holds no data set: {path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise DataError(f"{path} is not the manifest of a data set of format {FORMAT}")
    return values


def _write(path: Path, content: bytes) -> None:
    """Wholly or not at all."""
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
        raise DataError(f"cannot write {path}: {error}; what was finished before is kept") from error
