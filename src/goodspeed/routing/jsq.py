"""Join the shortest queue."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class JoinShortestQueue:
    """The candidate with the fewest streams; ties are broken at random.

    Drafters herd: all that open streams between two reports of load see the same shortest queue, and join it.
    """

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        min_depth = min(view.depth for view in candidates)
        shortest = [view.index for view in candidates if view.depth == min_depth]
        return shortest[int(rng.integers(len(shortest)))]
