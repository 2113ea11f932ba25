"""How long a step of the engine takes now, by its tokens and streams, on a machine whose speed changes."""

from typing import Final

from goodspeed.verifier.core.timing.round_timing import Smoothed

DECAY: Final = 0.995  # of the evidence per step: the last 200 or so count
ENOUGH: Final = 16.0  # steps, decayed; of fewer a prediction is a guess
ALIKE: Final = 0.5  # tokens
UNLIKE: Final = 1.0
"""Of the time of recent steps: a difference of neighbouring ones that is no doing of their tokens."""
DOUBT: Final = 4.0
"""Streams^2: evidence that a stream costs no more than its tokens, so that little evidence of more counts little."""
LEAST: Final = 0.1
"""No step takes less than this share of the one before, whatever they hold."""


class StepNow:
    """The last step, and slopes that last: what a token or a stream more or less would have made of it.

    Least squares over all steps (StepTime) takes a change of speed, from other work on the machine, for the doing of
    whatever tokens there were before and after; and it lays what a stream costs on the draft tokens that it brings.
    Here the evidence is neighbouring steps, the difference of their times as a share of what recent steps take: so
    much for a token, and so much more for a stream.
    """

    def __init__(self) -> None:
        self._weight = 0.0  # of steps
        self._mean_tokens = 0.0  # decayed
        self._last_tokens = 0
        self._last_streams = 0
        self._last_s = 0.0
        self._recent_s = Smoothed()
        self._tt = 0.0  # decayed sums over pairs of steps: products of differences in tokens, streams, shares of time
        self._ts = 0.0
        self._ss = 0.0
        self._tx = 0.0
        self._sx = 0.0

    def observe(self, num_tokens: int, num_streams: int, seconds: float) -> None:
        """A step of so many new tokens, of so many streams, took so long."""
        off_s = seconds - self._last_s
        self._recent_s.observe(seconds)
        if self._weight and abs(off_s) < UNLIKE * self._recent_s.value:
            self._learn(num_tokens - self._last_tokens, num_streams - self._last_streams, off_s / self._recent_s.value)
        self._weight = DECAY * self._weight + 1.0
        self._mean_tokens += (num_tokens - self._mean_tokens) / self._weight
        self._last_tokens, self._last_streams, self._last_s = num_tokens, num_streams, seconds

    @property
    def is_settled(self) -> bool:
        """Some steps were observed, which took their time."""
        return self._weight >= ENOUGH and self._last_s > 0.0

    def knows(self, num_tokens: int) -> bool:
        """Some steps of so many tokens were observed, or unlike ones, which tell what these take."""
        return self.is_settled and (self._tt > 0.0 or abs(self._mean_tokens - num_tokens) < ALIKE)

    def predict(self, num_tokens: int, num_streams: int) -> float:
        """Seconds that the last step would have taken with so many; 0 before the first observation."""
        if self._tt == 0.0:
            return self._last_s
        stream = max(0.0, self._tt * self._sx - self._ts * self._tx)
        stream /= self._tt * (self._ss + DOUBT) - self._ts * self._ts
        token = max(0.0, self._tx - stream * self._ts) / self._tt
        share = token * (num_tokens - self._last_tokens) + stream * (num_streams - self._last_streams)
        return max(LEAST * self._last_s, self._last_s + share * self._recent_s.value)

    def _learn(self, tokens: int, streams: int, share: float) -> None:
        """Of two neighbouring steps: how many more tokens and streams made what difference."""
        self._tt = DECAY * self._tt + tokens * tokens
        self._ts = DECAY * self._ts + tokens * streams
        self._ss = DECAY * self._ss + streams * streams
        self._tx = DECAY * self._tx + tokens * share
        self._sx = DECAY * self._sx + streams * share
