"""A student with narrower MLPs: of every layer's units those stay that answers drive hardest.

A unit counts as much as it adds to the residual stream: the length of its activations over some answers, times the
length of the column that carries it on (what Wanda, Sun et al. 2024, asks of single weights).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from goodspeed.errors import ConfigError
from goodspeed.tuning.data.packed_rows import Document, batch, pack
from goodspeed.tuning.train.student import Student, StudentInit

NUM_WATCHED = 64  # documents
DOWN = "mlp.down_proj"


def prune_mlps(start: StudentInit, width: int, documents: Sequence[Document], length: int) -> StudentInit:
    """With `width` units in every MLP, chosen on the first documents, read in rows of `length`. Raises ConfigError."""
    config = start.config
    if width > config.intermediate_size:
        raise ConfigError(f"mlp_width is {width}, expected at most {config.intermediate_size}: those of the start")
    student = _Watched(start, [], torch.float32)
    with torch.no_grad():
        for row in pack(documents[:NUM_WATCHED], length):
            student(batch([row], length))
    weights = dict(start.weights)
    for i in range(config.num_layers):
        mlp = f"model.layers.{i}.mlp."
        down = weights[mlp + "down_proj.weight"]
        kept = (student.driven[i].sqrt() * down.float().norm(dim=0)).topk(width).indices.sort().values
        weights[mlp + "down_proj.weight"] = down[:, kept]
        weights |= {name: weights[name][kept] for name in (mlp + "gate_proj.weight", mlp + "up_proj.weight")}
    return replace(start, config=replace(config, intermediate_size=width), weights=weights)


class _Watched(Student):
    """Sums up the squares of what goes into each layer's `down_proj`."""

    def __init__(self, start: StudentInit, trained: Sequence[str], dtype: torch.dtype) -> None:
        super().__init__(start, trained, dtype)
        self.driven = [torch.zeros(start.config.intermediate_size) for _ in range(start.config.num_layers)]

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if name.endswith(DOWN):
            self.driven[int(name.split(".")[2])] += x.square().sum((0, 1))
        return super()._linear(name, x)
