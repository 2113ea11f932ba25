"""The interface of routing policies: a drafter's view of its verifiers, and the choice of one for a new stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class VerifierView:
    """A drafter's view of one verifier. It lags behind: a verifier reports its load at most once per second."""

    index: int
    """Position in the drafter's list of verifiers."""
    depth: int
    """Streams at the verifier, open or queued: the last report, plus this drafter's own changes since."""
    utilisation: float
    """Fraction of the verifier's KV memory in use, 0 to 1, as last reported."""
    rtt_s: float
    """Smoothed round-trip time; 0 before the first verdict on a proposal."""
    service_s: float
    """Smoothed time per stream that a round takes, (queue + verification) / depth; 0 before the first verdict."""


class RoutingPolicy(Protocol):
    """Chooses the verifier of a new stream. The stream stays there until it ends or the link is lost."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        """The index of one candidate. There is at least one; they are connected, have capacity, and ascend by index."""
