"""The draft tokens that one verification batch may hold."""

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Final

from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import StepTimeModel

MIN_TOKENS: Final = 24
"""Draft tokens for few streams, so that a far one may have a long proposal."""
STREAM_TOKENS: Final = 4
"""Draft tokens for each stream where there are many."""
MIN_ROUND_S: Final = 1e-9
"""For a round time that is not known yet."""
NUM_SIZES: Final = 32
"""Sizes of a step that are compared."""


def automatic_budget(num_streams: int, max_tokens: float = float("inf")) -> int:
    """The budget of a batch of `num_streams` streams; beyond `max_tokens` it only gives one token to each stream."""
    return max(num_streams, int(min(max(MIN_TOKENS, STREAM_TOKENS * num_streams), max_tokens)))


class DraftBudget:
    """A configured budget, or one that follows the streams and the engine.

    The latter ends where the draft tokens alone would double the step: there a verified token takes as long as one
    without drafts.
    """

    def __init__(self, num_tokens: int) -> None:
        """`num_tokens` is 0 for a budget that follows the streams."""
        self._num_tokens = num_tokens
        self._stream_tokens = Ewma(ROUND_WEIGHT)  # that a batch held for each of its streams

    @property
    def is_automatic(self) -> bool:
        return not self._num_tokens

    def tokens(self, num_streams: int, step_time: StepTimeModel) -> int:
        """The most that a batch of `num_streams` streams may hold."""
        if self._num_tokens:
            return self._num_tokens
        token_s = step_time.token_s
        max_tokens = step_time.predict(num_streams, num_streams) / token_s if token_s > 0.0 else float("inf")
        return automatic_budget(num_streams, max_tokens)

    def on_batch(self, num_tokens: int, num_streams: int) -> None:
        """A batch of so many streams, at least 1, may hold `num_tokens`: the fewer the nearer the engine's knee."""
        self._stream_tokens.observe(num_tokens / num_streams)

    def granted(self, num_streams: int, step_time: StepTimeModel) -> int:
        """What may be granted to `num_streams` streams: no more than batches verify, or it would be drafted in vain."""
        num_tokens = self.tokens(num_streams, step_time)
        stream_tokens = self._stream_tokens.value
        if stream_tokens is None:
            return num_tokens
        return min(num_tokens, max(1, math.ceil(stream_tokens * num_streams)))


def best_num_tokens(
    values: Sequence[float],  # utility of each draft token that a step could verify
    max_tokens: int,
    own_value: float,  # utility of the target's own tokens in the step, > 0
    round_s: Callable[[int], float],  # of the step's streams, with so many draft tokens
) -> int:
    """How many draft tokens a step should verify, the most valuable first, where its time is no straight line.

    It is the number that brings most value in a second of the streams' rounds. A loss per second, taken at the present
    round time, would have several solutions: long rounds make a second cheap, and cheap seconds make rounds long.
    """
    gains = list(accumulate(sorted(values, reverse=True)[:max_tokens], initial=own_value))
    sizes: list[int] = [*range(0, len(gains) - 1, max(1, len(gains) // NUM_SIZES)), len(gains) - 1]
    rates = [gains[num_tokens] / max(MIN_ROUND_S, round_s(num_tokens)) for num_tokens in sizes]
    return sizes[rates.index(max(rates))]
