"""The shortest expected round, network included."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class LatencyAware:
    """The candidate with the shortest expected round, RTT + service * (depth + 1); ties are broken at random.

    This is shortest-expected-delay routing with the network added. The estimate is too low for a verifier whose times
    were measured at a large depth and whose depth is small now, because a step does not grow in proportion to its
    streams. Such a verifier is picked, and measured again. A verifier without measurements counts as free.
    """

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        rounds_s = [view.rtt_s + view.service_s * (view.depth + 1) for view in candidates]
        shortest = min(rounds_s)
        best = [view.index for view, round_s in zip(candidates, rounds_s, strict=True) if round_s == shortest]
        return best[int(rng.integers(len(best)))]
