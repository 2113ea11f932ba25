"""From the chance of acceptance at every token to what rounds bring: exact sums, nothing drawn.

A round that begins at token t drafts the next ones; the first m are accepted, the target adds one, and the next round
begins at t + m + 1. So the probability that a round begins at a token follows from those before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rounds:
    """Expected sums over the rounds of one answer, by place in the draft."""

    num_rounds: float
    judged: Floats  # [window]: draft tokens all before which were accepted
    accepted: Floats  # [window]: those of them that were accepted too

    @property
    def num_accepted(self) -> float:
        return float(self.accepted.sum())


def rounds_of(chances: Sequence[float], window: int) -> Rounds:
    """Of an answer whose token i + 1 a draft would meet with probability chances[i], i = 0 .. n - 1.

    As a drafter does, no round proposes beyond the answer's last token but one: the last is the target's own.
    """
    begins = begin_chances(chances, window)
    judged, accepted = np.zeros(window), np.zeros(window)
    for start in np.flatnonzero(begins).tolist():
        alive = begins[start]
        for place, chance in enumerate(chances[start : min(start + window, len(chances) - 1)]):
            judged[place] += alive
            alive *= chance
            accepted[place] += alive
            if alive == 0.0:
                break
    return Rounds(float(begins.sum()), judged, accepted)


def begin_chances(chances: Sequence[float], window: int) -> Floats:
    """[n]: the probability that a round begins before each token."""
    num_tokens = len(chances)
    begins = np.zeros(num_tokens + 1)
    begins[0] = 1.0
    for start in range(num_tokens):
        alive = begins[start]
        if alive == 0.0:
            continue
        last = min(start + window, num_tokens - 1)
        for place in range(start, last):
            begins[place + 1] += alive * (1.0 - chances[place])
            alive *= chances[place]
            if alive == 0.0:
                break
        begins[last + 1] += alive
    return begins[:num_tokens]
