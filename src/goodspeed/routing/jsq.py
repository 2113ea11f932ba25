"""Join the shortest queue."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class JoinShortestQueue:
    """The candidate with the fewest streams; ties are drawn.

    Each drafter joins the queue that was shortest at its last report, so a crowd of drafters herds: all that open
    streams within one report interval see the same shortest queue.
    """

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        least = min(view.depth for view in candidates)
        shortest = [view.index for view in candidates if view.depth == least]
        return shortest[int(rng.integers(len(shortest)))]
