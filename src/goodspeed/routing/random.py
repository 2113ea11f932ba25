"""The baseline that knows nothing."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class RandomRouting:
    """Any candidate, each as likely as the other."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        return candidates[int(rng.integers(len(candidates)))].index
