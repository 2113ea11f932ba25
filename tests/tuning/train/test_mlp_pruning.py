"""Pruning keeps the active units of MLPs, and the outputs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from goodspeed.errors import ConfigError
from goodspeed.models.checkpoint import read_config, read_weights
from goodspeed.tuning.data.example import Example, Origin
from goodspeed.tuning.data.packed_rows import Cutter, Document, batch
from goodspeed.tuning.train.mlp_pruning import prune_mlps
from goodspeed.tuning.train.student import Student, StudentInit

Checkpoints = Callable[..., Path]
LENGTH = 32


@pytest.fixture
def init(random_checkpoint: Checkpoints) -> StudentInit:
    folder = random_checkpoint("llama")
    return StudentInit(replace(read_config(folder), tie_word_embeddings=False), read_weights(folder), None)


@pytest.fixture
def documents() -> list[Document]:
    rng, cutter = np.random.default_rng(0), Cutter(LENGTH, 8, 320, None)
    pairs = [rng.integers(0, 320, (2, 10), dtype=np.int32) for _ in range(6)]
    logprobs = np.zeros((10, 1), np.float16)
    answers = [Example(Origin("k", "s", ""), prompt, answer, answer[:, None], logprobs) for prompt, answer in pairs]
    return [cutter.document(example, None, 1, 1.0) for example in answers]


def hidden(init: StudentInit, documents: list[Document]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = Student(init, [], torch.float32)(batch([[document] for document in documents], LENGTH))
    return found


def test_inactive_units_are_pruned(init: StudentInit, documents: list[Document]) -> None:
    """Each layer has other idle units: their gates are zero, whatever the norm of their columns."""
    weights = {name: weight.float().clone() for name, weight in init.weights.items()}
    width = init.config.intermediate_size
    for i in range(init.config.num_layers):
        idle = torch.arange(i, width, 2)
        weights[f"model.layers.{i}.mlp.gate_proj.weight"][idle] = 0.0
        weights[f"model.layers.{i}.mlp.down_proj.weight"][:, idle] = 100.0
    with_idle_units = replace(init, weights=weights)
    small = prune_mlps(with_idle_units, width // 2, documents, LENGTH)
    assert small.config.intermediate_size == width // 2
    assert small.weights["model.layers.1.mlp.up_proj.weight"].shape == (width // 2, init.config.hidden_size)
    torch.testing.assert_close(hidden(small, documents), hidden(with_idle_units, documents))


def test_pruning_to_the_same_width_changes_nothing(init: StudentInit, documents: list[Document]) -> None:
    same = prune_mlps(init, init.config.intermediate_size, documents, LENGTH)
    torch.testing.assert_close(hidden(same, documents), hidden(init, documents))


def test_width_above_the_initial_one_is_refused(init: StudentInit, documents: list[Document]) -> None:
    with pytest.raises(ConfigError, match="mlp_width is 1000, expected at most"):
        prune_mlps(init, 1000, documents, LENGTH)
