"""Calibration of confidences: the share of accepted tokens by confidence, and the mean error."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NUM_BINS = 10


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Draft tokens of similar confidence."""

    confidence: float  # mean
    accepted: float  # share
    num_tokens: int


@dataclass(frozen=True, slots=True)
class ReliabilityDiagram:
    """A reliability diagram with its summary."""

    bins: tuple[ReliabilityBin, ...]
    """The non-empty ones of ten equal intervals of 0..1."""
    error: float
    """Expected calibration error: mean |confidence - accepted| of the bins, weighted by tokens (Guo et al. 2017)."""
    bias: float
    """Mean confidence less the share accepted: above 0 the engine is overconfident."""


def reliability_diagram(tokens: Iterable[tuple[float, float]]) -> ReliabilityDiagram:
    """The diagram of (confidence, accepted) pairs; `accepted` is 0, 1 or a probability.

    The pairs are of draft tokens whose predecessors in the draft were all accepted. NaN without tokens.
    """
    pairs = np.array(list(tokens), dtype=float).reshape(-1, 2)
    if not len(pairs):
        return ReliabilityDiagram((), float("nan"), float("nan"))
    numbers = np.minimum((pairs[:, 0] * NUM_BINS).astype(int), NUM_BINS - 1)
    members = [pairs[numbers == number] for number in range(NUM_BINS) if np.any(numbers == number)]
    bins = tuple(ReliabilityBin(float(part[:, 0].mean()), float(part[:, 1].mean()), len(part)) for part in members)
    error = sum(abs(each.confidence - each.accepted) * each.num_tokens for each in bins) / len(pairs)
    return ReliabilityDiagram(bins, error, float((pairs[:, 0] - pairs[:, 1]).mean()))
