"""The state of a training run on disk: everything that a resumed run needs to reach the same result."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from goodspeed.errors import DataError

STATE = "state.safetensors"
BEST = "best.safetensors"
PREFIX = "standing."  # of the fields' names in the file
FIELDS = ("step", "num_tokens", "best", "num_worse")
Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class TrainingProgress:
    """The progress of a run."""

    step: int = 0
    num_tokens: int = 0
    """Answer tokens trained on so far."""
    best: float = -1.0
    """The highest accepted_per_round of a validation."""
    num_worse: int = 0
    """Validations since the best one."""


def save_state(folder: Path, progress: TrainingProgress, tensors: Tensors) -> None:
    """Write the state. Raises DataError if the disk is full or read-only; the previous state remains."""
    numbers = {f"{PREFIX}{name}": torch.tensor(float(getattr(progress, name)), dtype=torch.float64) for name in FIELDS}
    write_tensors(folder / STATE, {**numbers, **tensors})


def load_state(folder: Path) -> tuple[TrainingProgress, Tensors] | None:
    """Read the state; None if there is none. Raises DataError for a damaged one."""
    if not (folder / STATE).exists():
        return None
    tensors = read_tensors(folder / STATE)
    try:
        numbers = {name: tensors.pop(PREFIX + name).item() for name in FIELDS}
    except KeyError as error:
        raise DataError(f"{folder / STATE} is not the state of a training run: {error} is missing") from error
    counts = {name: int(value) for name, value in numbers.items()}
    return TrainingProgress(counts["step"], counts["num_tokens"], numbers["best"], counts["num_worse"]), tensors


def write_tensors(path: Path, tensors: Tensors) -> None:
    """Write the whole file or nothing. Raises DataError."""
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
        raise DataError(f"cannot write {path}: {error}; the previous file remains") from error


def read_tensors(path: Path) -> Tensors:
    """Raises DataError."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
