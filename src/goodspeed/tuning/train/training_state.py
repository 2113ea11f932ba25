"""A training run on disk: what is needed to go on to the same end, written whole or not at all."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from goodspeed.errors import DataError

STATE = "state.safetensors"
BEST = "best.safetensors"
FIELDS = ("step", "num_tokens", "best", "num_worse")
Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingProgress:
    """Where a run is."""

    step: int = 0
    num_tokens: int = 0
    """ScoredAnswer tokens that had a loss so far."""
    best: float = -1.0
    """The largest acceptance on the validation set."""
    num_worse: int = 0
    """Looks at it since."""


def save_state(folder: Path, standing: TrainingProgress, tensors: Tensors) -> None:
    """Raises DataError if the disk does not let us; the state before it is kept."""
    numbers = {f"standing.{name}": torch.tensor(float(getattr(standing, name)), dtype=torch.float64) for name in FIELDS}
    write_tensors(folder / STATE, {**numbers, **tensors})


def load_state(folder: Path) -> tuple[TrainingProgress, Tensors] | None:
    """None if there is no run yet. Raises DataError for a damaged one."""
    if not (folder / STATE).exists():
        return None
    tensors = read_tensors(folder / STATE)
    try:
        numbers = {name: tensors.pop(f"standing.{name}").item() for name in FIELDS}
    except KeyError as error:
        raise DataError(f"{folder / STATE} is no state of a training run: {error} is missing") from error
    whole = {name: int(value) for name, value in numbers.items()}
    return TrainingProgress(whole["step"], whole["num_tokens"], numbers["best"], whole["num_worse"]), tensors


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Wholly or not at all. Raises DataError."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise DataError(f"cannot write {path}: {error}; what was finished before is kept") from error


def read_tensors(path: Path) -> Tensors:
    """Raises DataError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
