"""One verifier for all streams; the others are used when it is down."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class Failover:
    """The first candidate. With this policy a drafter connects to another verifier only after it has lost one."""

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:  # noqa: ARG002
        return candidates[0].index
