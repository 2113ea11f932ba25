"""One verifier for everything, the others in reserve."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class Failover:
    """The only candidate: by this policy a drafter dials another verifier only when it has lost the one it had."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:  # noqa: ARG002
        return candidates[0].index
