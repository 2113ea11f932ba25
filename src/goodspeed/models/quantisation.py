"""Symmetric quantisation with one scale per group of columns, stored as bit planes. NumPy only."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

GROUP = 64
MIN_BITS, MAX_BITS = 2, 8
SCALES = np.linspace(0.6, 1.0, 9, dtype=np.float32)
"""Candidate ranges of a group, as shares of its largest weight; clipping it may reduce the total error."""
CHUNK = 2**14  # groups per vectorised step


@dataclass(frozen=True, slots=True)
class QuantisedMatrix:
    """A quantised matrix [rows, columns]."""

    planes: npt.NDArray[np.uint8]  # [bits, rows * columns / 8]: the lowest bit first
    scales: npt.NDArray[np.float16]  # [rows, columns / GROUP]

    @property
    def num_bytes(self) -> int:
        return self.planes.nbytes + self.scales.nbytes


def quantise(weight: npt.NDArray[np.float32], bits: int) -> QuantisedMatrix:
    """`weight` is [rows, columns], columns a multiple of GROUP. Each group has the scale of minimum square error."""
    assert MIN_BITS <= bits <= MAX_BITS, bits
    assert weight.shape[1] % GROUP == 0, weight.shape
    groups = weight.reshape(-1, GROUP)
    parts = [_quantise(groups[start : start + CHUNK], bits) for start in range(0, len(groups), CHUNK)]
    steps, scales = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    planes = np.stack([np.packbits(steps >> bit & 1) for bit in range(bits)])
    return QuantisedMatrix(planes, scales.reshape(len(weight), -1))


def restore(stored: QuantisedMatrix) -> npt.NDArray[np.float32]:
    """[rows, columns]: the dequantised weights."""
    rows, num_groups = stored.scales.shape
    steps = np.zeros(rows * num_groups * GROUP, dtype=np.uint8)
    for bit, plane in enumerate(stored.planes):
        steps |= np.unpackbits(plane) << bit
    signed = steps.astype(np.float32) - _largest(len(stored.planes))
    scales = stored.scales.astype(np.float32).reshape(-1, 1)
    return (signed.reshape(-1, GROUP) * scales).reshape(rows, -1)


def _quantise(
    groups: npt.NDArray[np.float32],  # [n, GROUP]
    bits: int,
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float16]]:
    largest = _largest(bits)
    extent = np.abs(groups).max(1, keepdims=True) / largest
    best_error = np.full((len(groups), 1), np.inf, dtype=np.float32)
    best_scale = np.zeros((len(groups), 1), dtype=np.float16)
    for share in SCALES:
        scale = (extent * share).astype(np.float16)
        error = ((_steps(groups, scale, largest) * scale.astype(np.float32) - groups) ** 2).sum(1, keepdims=True)
        is_better = error < best_error
        best_error, best_scale = np.where(is_better, error, best_error), np.where(is_better, scale, best_scale)
    return (_steps(groups, best_scale, largest) + largest).astype(np.uint8), best_scale


def _steps(groups: npt.NDArray[np.float32], scale: npt.NDArray[np.float16], largest: int) -> npt.NDArray[np.float32]:
    """Integers from -largest to largest."""
    divisor = np.where(scale > 0, scale, 1).astype(np.float32)
    steps: npt.NDArray[np.float32] = np.rint(groups / divisor).clip(-largest, largest)
    return steps


def _largest(bits: int) -> int:
    return (1 << (bits - 1)) - 1
