"""The power of two choices (Mitzenmacher, IEEE TPDS 12(10), 2001)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class PowerOfTwo:
    """Of two random candidates the one with fewer streams. Loads are nearly as even as with jsq and do not herd."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        drawn = [candidates[int(i)] for i in rng.permutation(len(candidates))[:2]]
        shorter = min(drawn, key=lambda view: view.depth)
        return shorter.index
