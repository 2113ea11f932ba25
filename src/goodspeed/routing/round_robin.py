"""Round robin: each verifier in turn."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class RoundRobin:
    """The candidate that follows the last pick in the drafter's list of verifiers.

    The first pick is random, so that drafters that start together do not all use the same verifier.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        if self._last is None:
            self._last = candidates[int(rng.integers(len(candidates)))].index
        else:
            later = [view.index for view in candidates if view.index > self._last]
            self._last = later[0] if later else candidates[0].index
        return self._last
