"""Makes vLLM's linear layers on CPUs give a row the same bits in a step of one token as in larger steps."""

from collections.abc import Callable
from typing import Any

import torch

Linear = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def compute_single_rows_twice(model: torch.nn.Module) -> None:
    """oneDNN sums a single row in another order where a layer has more inputs than outputs; from two rows on it is one.

    The second row costs little, since a step of few rows waits for the weights (docs/explain/engine.md).
    """
    for module in model.modules():
        linear: Any = getattr(module, "cpu_linear", None)
        if linear is not None:
            module.cpu_linear = _twice(linear)  # type: ignore[assignment]  # no parameter and no module


def _twice(linear: Linear) -> Linear:
    def apply(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        return linear(x, weight, bias) if len(x) != 1 else linear(x.expand(2, -1).contiguous(), weight, bias)[:1]

    return apply
