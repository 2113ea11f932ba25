"""The shortest expected round."""

from collections.abc import Sequence

import numpy as np

from goodspeed.routing.routing_policy import VerifierView


class LatencyAware:
    """The candidate with the shortest expected round, RTT + service * (depth + 1); ties are drawn.

    Shortest expected delay, with the network in it. A step that reads weights does not grow in proportion to its
    streams, so this is too low for a verifier that was measured deep and is shallow now; it is picked then, and
    measured anew. One that was never measured counts as free, and is tried.
    """

    def pick(self, candidates: Sequence[VerifierView], rng: np.random.Generator) -> int:
        rounds_s = [view.rtt_s + view.service_s * (view.depth + 1) for view in candidates]
        shortest = min(rounds_s)
        best = [view.index for view, round_s in zip(candidates, rounds_s, strict=True) if round_s == shortest]
        return best[int(rng.integers(len(best)))]
