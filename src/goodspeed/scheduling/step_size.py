"""How many draft tokens a step verifies, where its time is no straight line in them."""

import math
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

MIN_ROUND_S: Final = 1e-9
"""For a round time that is not known yet."""


class StepSize(NamedTuple):
    """A size that a step may have."""

    num_drafted: int
    """Draft tokens that it verifies."""
    round_s: float
    """What a round of its streams takes then, on average."""


def best_num_tokens(
    values: Sequence[float],  # utility of each draft token that the step could verify
    own_value: float,  # utility of the target's own tokens in the step
    sizes: Sequence[StepSize],  # in rising order
) -> int:
    """How many draft tokens the step should verify, the most valuable first.

    It is the number that brings most value in a second of the streams' rounds. A loss per second, taken at the present
    round time, would have several solutions: long rounds make a second cheap, and cheap seconds make rounds long.
    """
    gains = list(accumulate(sorted(values, reverse=True), initial=own_value))
    best, best_rate = 0, -math.inf
    for size in sizes:
        num_tokens = min(size.num_drafted, len(values))
        rate = gains[num_tokens] / max(MIN_ROUND_S, size.round_s)
        if rate > best_rate:
            best, best_rate = num_tokens, rate
        if num_tokens == len(values):
            break
    return best
