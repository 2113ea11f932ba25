"""Are confidences what they say? Shares of accepted tokens by confidence, and how far off they are on average."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Draft tokens of about one confidence."""

    confidence: float  # mean
    accepted: float  # share
    num_tokens: int


@dataclass(frozen=True, slots=True)
class ReliabilityDiagram:
    """A reliability diagram."""

    bins: tuple[ReliabilityBin, ...]
    """Those of ten equal parts of 0..1 into which any token falls."""
    error: float
    """Expected calibration error: mean distance of a bin's two figures, by tokens (Guo et al. 2017)."""
    bias: float
    """Mean confidence less the share accepted: above 0 it promises too much."""


def reliability_diagram(judged: Iterable[tuple[float, float]]) -> ReliabilityDiagram:
    """Of (confidence, accepted: 0, 1 or a chance) of draft tokens all before which were accepted."""
    pairs = np.array(list(judged), dtype=float).reshape(-1, 2)
    if not len(pairs):
        return ReliabilityDiagram((), float("nan"), float("nan"))
    numbers = np.minimum((pairs[:, 0] * NUM_BINS).astype(int), NUM_BINS - 1)
    parts = [pairs[numbers == number] for number in range(NUM_BINS) if np.any(numbers == number)]
    bins = tuple(ReliabilityBin(float(part[:, 0].mean()), float(part[:, 1].mean()), len(part)) for part in parts)
    error = sum(abs(one.confidence - one.accepted) * one.num_tokens for one in bins) / len(pairs)
    return ReliabilityDiagram(bins, error, float((pairs[:, 0] - pairs[:, 1]).mean()))
