"""The power of two choices (Mitzenmacher, IEEE TPDS 12(10), 2001)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class PowerOfTwo:
    """The shallower of two candidates that are drawn: nearly as even as the shortest queue, and no herd."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        drawn = [candidates[int(i)] for i in rng.permutation(len(candidates))[:2]]
        shallower = min(drawn, key=lambda view: view.depth)
        return shallower.index
