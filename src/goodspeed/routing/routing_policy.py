"""The routing seam: what a drafter knows of its verifiers, and where it opens a stream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, slots=True)
class VerifierView:
    """What one drafter can know of one verifier. All of it is late: reports come at most once a second."""

    index: int
    """In the drafter's list of verifiers."""
    depth: int
    """Streams there, open or queued: as reported, and what this drafter itself has opened or ended since."""
    utilisation: float
    """Share of its KV memory that was in use, 0 to 1, as reported."""
    rtt_s: float
    """Smoothed; 0 before the first proposal was judged on this link."""
    service_s: float
    """What each stream there adds to a round: (queue + verification) / depth, smoothed; 0 before the first verdict."""


class RoutingPolicy(Protocol):
    """Chooses the verifier of a stream. The stream stays there, with its KV, until it ends or the link is lost."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        """The index of one candidate. They are those that are up and have room, at least one, by rising index."""
