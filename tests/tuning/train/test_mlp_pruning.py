"""A narrower student: units that do something stay, and it computes what it computed."""

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
def start(random_checkpoint: Checkpoints) -> StudentInit:
    folder = random_checkpoint("llama")
    return StudentInit(replace(read_config(folder), tie_word_embeddings=False), read_weights(folder), None)


@pytest.fixture
def documents() -> list[Document]:
    rng, cutter = np.random.default_rng(0), Cutter(LENGTH, 8, 320, None)
    asked = [rng.integers(0, 320, (2, 10), dtype=np.int32) for _ in range(6)]
    logprobs = np.zeros((10, 1), np.float16)
    answers = [Example(Origin("k", "s", ""), prompt, said, said[:, None], logprobs) for prompt, said in asked]
    return [cutter.document(one, None, 1, 1.0) for one in answers]


def hidden(start: StudentInit, documents: list[Document]) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = Student(start, [], torch.float32)(batch([[one] for one in documents], LENGTH))
    return found


def test_units_that_no_answer_drives_are_the_ones_that_go(start: StudentInit, documents: list[Document]) -> None:
    """Each layer has other idle units: a gate of zero lets nothing through, however long the unit's column."""
    weights = {name: weight.float().clone() for name, weight in start.weights.items()}
    width = start.config.intermediate_size
    for i in range(start.config.num_layers):
        idle = torch.arange(i, width, 2)
        weights[f"model.layers.{i}.mlp.gate_proj.weight"][idle] = 0.0
        weights[f"model.layers.{i}.mlp.down_proj.weight"][:, idle] = 100.0
    lazy = replace(start, weights=weights)
    small = prune_mlps(lazy, width // 2, documents, LENGTH)
    assert small.config.intermediate_size == width // 2
    assert small.weights["model.layers.1.mlp.up_proj.weight"].shape == (width // 2, start.config.hidden_size)
    torch.testing.assert_close(hidden(small, documents), hidden(lazy, documents))


def test_as_wide_as_before_is_as_before(start: StudentInit, documents: list[Document]) -> None:
    same = prune_mlps(start, start.config.intermediate_size, documents, LENGTH)
    torch.testing.assert_close(hidden(same, documents), hidden(start, documents))


def test_wider_than_the_start_is_refused(start: StudentInit, documents: list[Document]) -> None:
    with pytest.raises(ConfigError, match="mlp_width is 1000, expected at most"):
        prune_mlps(start, 1000, documents, LENGTH)
