"""Training of AWC's network: L1 loss, AdamW, minibatches, as in DSD (arXiv 2511.21669). Imports torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from goodspeed.awc.training_config import ScheduleConfig
from goodspeed.awc.training_set import LabelledRows
from goodspeed.windows.awc.features import HISTORY, INPUTS, NUM_FEATURES, InputScaling
from goodspeed.windows.awc.network import NUM_BLOCKS

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TrainedNetwork:
    """Weights by the names of AwcNetwork, and the scaling of their inputs."""

    weights: dict[str, Floats]
    scaling: InputScaling
    error: float
    """Mean absolute error on the held-out rows, in tokens."""


class ResidualBlock(nn.Module):
    """x + B SiLU(A x + a) + b."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        total: torch.Tensor = hidden + self.outer(nn.functional.silu(self.inner(hidden)))
        return total


class ResidualMlp(nn.Module):
    """The network of goodspeed.windows.awc.network."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.input = nn.Linear(NUM_FEATURES, width)
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(NUM_BLOCKS))
        self.output = nn.Linear(width, 1)

    def forward(
        self,
        vectors: torch.Tensor,  # [rows, features]
    ) -> torch.Tensor:
        """[rows] windows."""
        hidden = self.input(vectors)
        for block in self.blocks:
            hidden = block(hidden)
        windows: torch.Tensor = self.output(hidden).squeeze(-1)
        return windows

    def weights(self) -> dict[str, Floats]:
        """By the names of AwcNetwork."""
        layers = {"input": self.input, "output": self.output}
        found = {f"{name}.weight": layer.weight for name, layer in layers.items()}
        found |= {f"{name}.bias": layer.bias for name, layer in layers.items()}
        for number, block in enumerate(self.blocks):
            assert isinstance(block, ResidualBlock)
            for place, layer in enumerate((block.inner, block.outer)):
                found[f"block{number}.weight{place}"] = layer.weight
                found[f"block{number}.bias{place}"] = layer.bias
        arrays = {name: parameter.detach().numpy().astype(np.float32) for name, parameter in found.items()}
        return {**arrays, "output.weight": arrays["output.weight"][0]}


def train_network(
    rows: LabelledRows, held_out: LabelledRows, config: ScheduleConfig, on_epoch: Callable[[float], object]
) -> TrainedNetwork:
    """Train on `rows`. `on_epoch` gets the mean absolute error on the rows of each epoch, in tokens."""
    torch.manual_seed(config.seed)
    scaling, mask = rows.scaling(), _mask(config.without)
    vectors, labels = torch.from_numpy(rows.scaled(scaling) * mask), torch.from_numpy(rows.labels)
    network = ResidualMlp(config.hidden)
    num_batches = -(-len(labels) // config.batch)
    optimizer = torch.optim.AdamW(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config.epochs * num_batches)
    shuffled = torch.Generator().manual_seed(config.seed)
    for _ in range(config.epochs):
        total = 0.0
        for batch in torch.randperm(len(labels), generator=shuffled).split(config.batch):
            loss = nn.functional.l1_loss(network(vectors[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        on_epoch(total / len(labels))
    weights = network.weights()
    weights["input.weight"] = weights["input.weight"] * mask
    return TrainedNetwork(weights, scaling, _error(network, held_out.scaled(scaling) * mask, held_out.labels))


def _mask(without: str) -> Floats:
    """[features] 0 for the input that is left out, 1 for the others."""
    return np.tile(np.array([name != without for name in INPUTS], dtype=np.float32), HISTORY)


def _error(network: ResidualMlp, vectors: Floats, labels: Floats) -> float:
    """With the windows clamped to those of the labels, as the policy does."""
    with torch.inference_mode():
        windows = network(torch.from_numpy(vectors)).numpy()
    return float(np.abs(windows.clip(1.0, 12.0) - labels).mean())
