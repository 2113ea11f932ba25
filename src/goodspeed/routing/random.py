"""Random routing, the baseline of the others."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class RandomRouting:
    """Any candidate, all with the same probability."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        return candidates[int(rng.integers(len(candidates)))].index
