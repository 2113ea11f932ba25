"""Linear layers whose every output row depends on its own input row alone, to the bit, given two rows or more.

On a CPU the weights are kept in oneDNN's own blocked layout: up to three times as fast as plain torch at small batches,
and, unlike MKL's float32 products, equal in every bit whatever else is in the batch (docs/engine.md has the figures).
"""

import torch
import torch.nn.functional as F

PACKING_ROWS = 8
"""Batch size that oneDNN is told when it chooses the blocked layout."""


class Linear:
    """y = x @ weight.T + bias, for x [rows, inputs] of the weight's dtype and device."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        """`weight` is [outputs, inputs], `bias` [outputs]."""
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
    """Whether this build of torch has oneDNN's packed product for such a weight."""
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype is torch.float32 or (weight.dtype is torch.bfloat16 and has_native_bf16())


def has_native_bf16() -> bool:
    """Whether this CPU multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
