"""The draft tokens that one verification batch may hold."""

import math
from typing import Final

from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import StepTimeModel

MIN_TOKENS: Final = 24
"""Draft tokens for few streams, so that a far one may have a long proposal."""
STREAM_TOKENS: Final = 4
"""Draft tokens for each stream where there are many."""
MIN_UNDRAFTED: Final = 4
MAX_UNDRAFTED: Final = 256
"""Batches without drafts after which an engine on which no draft token paid is tried again, with one token. The number
doubles from MIN_UNDRAFTED with each trial in vain."""

MIN_VERIFIED: Final = 0.5
"""Draft tokens in a batch, on average, below which a single one is drafted in vain more often than not."""


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
        self._num_undrafted = 0  # batches in a row without drafts
        self._num_before_trial = MIN_UNDRAFTED
        self._is_trial = False

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
        self._num_undrafted = 0
        if self._is_trial and not num_tokens:
            self._num_before_trial = min(MAX_UNDRAFTED, 2 * self._num_before_trial)
        elif self._is_trial:
            self._num_before_trial = MIN_UNDRAFTED
            self._stream_tokens.observe(num_tokens / num_streams, weight=1.0)
        else:
            self._stream_tokens.observe(num_tokens / num_streams)
        self._is_trial = False

    def on_undrafted(self) -> None:
        """A batch had no drafts to choose from, which says nothing of how many would pay."""
        self._num_undrafted += 1
        if self._num_undrafted >= self._num_before_trial:
            self._num_undrafted = 0
            self._is_trial = self._stream_tokens.get(default=1.0) < MIN_VERIFIED

    def granted(self, num_streams: int, step_time: StepTimeModel) -> int:
        """What may be granted to `num_streams` streams: no more than batches verify, or it would be drafted in vain.

        So nothing is granted where batches verify nothing, but for trials.
        """
        num_tokens = self.tokens(num_streams, step_time)
        stream_tokens = self._stream_tokens.value
        if stream_tokens is None:
            return num_tokens
        num_verified = max(stream_tokens * num_streams, float(self._is_trial))
        return min(num_tokens, math.ceil(num_verified) if num_verified >= MIN_VERIFIED else 0)
