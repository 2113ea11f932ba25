"""Structured pruning of a student's MLPs: every layer keeps the units with the largest scores on answers.

The score of a unit estimates what it adds to the residual stream: the norm of its activations over some answers times
the norm of its column of `down_proj` (Wanda, Sun et al. 2024, does the same for single weights).
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from goodspeed.errors import ConfigError
from goodspeed.tuning.data.packed_rows import Document, batch, pack
from goodspeed.tuning.train.student import Student, StudentInit

NUM_CALIBRATION = 64  # documents
DOWN = "mlp.down_proj"


def prune_mlps(init: StudentInit, width: int, documents: Sequence[Document], length: int) -> StudentInit:
    """Keep `width` units of every MLP, scored on the first documents in rows of `length`. Raises ConfigError."""
    config = init.config
    if width > config.intermediate_size:
        raise ConfigError(
            f"mlp_width is {width}, expected at most {config.intermediate_size}, the width of the initial student"
        )
    student = _Calibrated(init, [], torch.float32)
    with torch.no_grad():
        for row in pack(documents[:NUM_CALIBRATION], length):
            student(batch([row], length))
    weights = dict(init.weights)
    for i in range(config.num_layers):
        mlp = f"model.layers.{i}.mlp."
        down = weights[mlp + "down_proj.weight"]
        units = (student.square_sums[i].sqrt() * down.float().norm(dim=0)).topk(width).indices.sort().values
        weights[mlp + "down_proj.weight"] = down[:, units]
        weights |= {name: weights[name][units] for name in (mlp + "gate_proj.weight", mlp + "up_proj.weight")}
    return replace(init, config=replace(config, intermediate_size=width), weights=weights)


class _Calibrated(Student):
    """Sums the squared inputs of each layer's `down_proj`."""

    def __init__(self, init: StudentInit, trained: Sequence[str], dtype: torch.dtype) -> None:
        super().__init__(init, trained, dtype)
        self.square_sums = [torch.zeros(init.config.intermediate_size) for _ in range(init.config.num_layers)]

    def _linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        if name.endswith(DOWN):
            self.square_sums[int(name.split(".")[2])] += x.square().sum((0, 1))
        return super()._linear(name, x)
