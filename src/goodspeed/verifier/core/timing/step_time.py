"""How long a step of the engine takes, learned online: one interface, two estimators.

LeastSquaresStepTime serves batching and scheduling. It averages out noise, but a change of the machine's speed misleads
its slope: times before and after the change are attributed to the token counts that happened to occur
(docs/measurements/log.md).

DifferenceStepTime serves the baseline, which must hold on a machine whose speed changes. It compares neighbouring steps
and scales what it learns to the present speed.
"""

from typing import Final, Protocol

from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT

RECENT: Final = 0.95
"""Decay per step of the evidence for batching: about the last 20 steps count."""
LASTING: Final = 0.995
"""Decay per step of the evidence for slopes: about the last 200 steps count, so that a slope does not follow noise."""
MIN_VARIANCE: Final = 1e-6
"""tokens^2. With less, all steps were alike and their times have no slope."""

MIN_STEPS: Final = 16.0
"""Decayed number of steps before which DifferenceStepTime predicts nothing."""
ALIKE_TOKENS: Final = 0.5
"""Mean numbers of tokens that differ by less are alike."""
MAX_CHANGE: Final = 1.0
"""Share of the recent step time. A larger difference of neighbouring steps has another cause than their tokens."""
STREAM_PRIOR: Final = 4.0
"""streams^2. Evidence that a stream costs no more than its tokens, so that little evidence of more counts little."""
MIN_SHARE: Final = 0.1
"""No step is predicted to take less than this share of the last one."""


class StepTimeModel(Protocol):
    """Learns from the steps of the engine and predicts others."""

    def observe(self, num_tokens: int, num_streams: int, step_s: float) -> None:
        """A step over `num_tokens` new tokens of `num_streams` streams took `step_s` seconds."""

    def predict(self, num_tokens: int, num_streams: int) -> float:
        """Seconds of such a step; 0 before the first observation."""


class LeastSquaresStepTime:
    """Least squares of seconds = a + b * tokens over recent steps, with a and b not negative.

    Steps are linear in this range: the time to read the weights, then a time per token. Streams have no part in it.
    """

    def __init__(self, decay: float = RECENT) -> None:
        self._decay: Final = decay
        self._weight = 0.0
        self._mean_tokens = 0.0  # weighted, as all that follow
        self._mean_s = 0.0
        self._variance = 0.0  # of tokens
        self._covariance = 0.0  # of tokens and seconds

    @property
    def mean_s(self) -> float | None:
        """Mean time of recent steps; None before the first."""
        return self._mean_s if self._weight else None

    @property
    def token_s(self) -> float:
        """Seconds of one more token; 0 before two steps with different numbers of tokens."""
        if self._variance < MIN_VARIANCE:
            return 0.0
        return max(0.0, self._covariance / self._variance)

    def observe(self, num_tokens: int, num_streams: int, step_s: float) -> None:
        del num_streams
        self._weight = self._decay * self._weight + 1.0
        share = 1.0 / self._weight
        tokens_off = num_tokens - self._mean_tokens
        seconds_off = step_s - self._mean_s
        self._mean_tokens += share * tokens_off
        self._mean_s += share * seconds_off
        self._variance = (1.0 - share) * (self._variance + share * tokens_off * tokens_off)
        self._covariance = (1.0 - share) * (self._covariance + share * tokens_off * seconds_off)

    def predict(self, num_tokens: int, num_streams: int) -> float:
        del num_streams
        if self._variance < MIN_VARIANCE:
            return self._mean_s
        token_s = self.token_s
        base_s = max(0.0, self._mean_s - token_s * self._mean_tokens)
        return base_s + token_s * num_tokens


class DifferenceStepTime:
    """The time of the last step, corrected by learned slopes for tokens and streams that a step has more or less.

    The evidence is pairs of neighbouring steps: the difference of their times, as a share of the recent step time,
    explained by the differences of their tokens and streams. So the slopes outlast a change of speed, and what a stream
    costs is not attributed to the draft tokens that it brings.
    """

    def __init__(self) -> None:
        self._num_steps = 0.0  # decayed
        self._mean_tokens = 0.0  # decayed
        self._last_tokens = 0
        self._last_streams = 0
        self._last_s = 0.0
        self._recent_s = Ewma(ROUND_WEIGHT)
        # Decayed sums over pairs, of products of differences: t in tokens, s in streams, x in shares of the step time.
        self._tt = 0.0
        self._ts = 0.0
        self._ss = 0.0
        self._tx = 0.0
        self._sx = 0.0

    @property
    def is_settled(self) -> bool:
        """True after enough steps that took a measurable time."""
        return self._num_steps >= MIN_STEPS and self._last_s > 0.0

    def can_predict(self, num_tokens: int) -> bool:
        """True after enough steps of about `num_tokens` tokens, or of different sizes."""
        return self.is_settled and (self._tt > 0.0 or abs(self._mean_tokens - num_tokens) < ALIKE_TOKENS)

    def observe(self, num_tokens: int, num_streams: int, step_s: float) -> None:
        change_s = step_s - self._last_s
        self._recent_s.observe(step_s)
        recent_s = self._recent_s.get()
        if self._num_steps and abs(change_s) < MAX_CHANGE * recent_s:
            self._learn(num_tokens - self._last_tokens, num_streams - self._last_streams, change_s / recent_s)
        self._num_steps = LASTING * self._num_steps + 1.0
        self._mean_tokens += (num_tokens - self._mean_tokens) / self._num_steps
        self._last_tokens, self._last_streams, self._last_s = num_tokens, num_streams, step_s

    def predict(self, num_tokens: int, num_streams: int) -> float:
        if self._tt == 0.0:
            return self._last_s
        stream = max(0.0, self._tt * self._sx - self._ts * self._tx)
        stream /= self._tt * (self._ss + STREAM_PRIOR) - self._ts * self._ts
        token = max(0.0, self._tx - stream * self._ts) / self._tt
        share = token * (num_tokens - self._last_tokens) + stream * (num_streams - self._last_streams)
        return max(MIN_SHARE * self._last_s, self._last_s + share * self._recent_s.get())

    def _learn(self, tokens: int, streams: int, share: float) -> None:
        """Add a pair of neighbouring steps: the differences of their tokens, streams and times."""
        self._tt = LASTING * self._tt + tokens * tokens
        self._ts = LASTING * self._ts + tokens * streams
        self._ss = LASTING * self._ss + streams * streams
        self._tx = LASTING * self._tx + tokens * share
        self._sx = LASTING * self._sx + streams * share
