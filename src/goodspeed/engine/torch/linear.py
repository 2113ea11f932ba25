"""Batch-invariant linear layers: an output row depends on its input row only, to the bit, from two rows on.

On a CPU the weights are in oneDNN's blocked layout. It is up to three times as fast as plain torch for small batches
and, unlike float32 products in MKL, bit-identical whatever else is in the batch (measurements: docs/explain/engine.md).
"""

import torch
import torch.nn.functional as F

from goodspeed.engine.torch.device import has_native_bf16

PACKING_ROWS = 8
"""Batch size for which oneDNN chooses the blocked layout."""


class Linear:
    """y = x @ weight.T + bias for x [rows, inputs] with the dtype and device of the weight."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """`weight` is [outputs, inputs]; `bias` is [outputs]."""
        self._is_packed = is_packable(weight)
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, PACKING_ROWS) if self._is_packed else weight
        self._bias = bias

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """[rows, outputs]."""
        if not self._is_packed:
            return F.linear(x, self._weight, self._bias)
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return y


def is_packable(weight: torch.Tensor) -> bool:
    """Whether this build of torch has oneDNN's packed product for the device and dtype of the weight."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype is torch.float32 or (weight.dtype is torch.bfloat16 and has_native_bf16())
