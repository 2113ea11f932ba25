"""How long a step of the engine takes, learned online: one model for scheduling, batching and the baseline.

    seconds = slowness * (centre_s + token * (tokens - mean_tokens) + stream * (streams - mean_streams)) + prompt tokens

`slowness` follows the machine, the mean size follows the recent steps, and the slopes `token` and `stream` are least
squares over deviations from the recent mean size. A change of the machine's speed is therefore not attributed to the
tokens that happened to occur before and after it, nor a stream's own cost to its draft tokens. What was compared and
measured: docs/measurements/step_time.md.
"""

import math
from typing import Final

from goodspeed.stats.ewma import DecayedMean
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT

LASTING: Final = 0.995
"""Decay of the evidence for slopes per step that has some: about the last 200 steps count."""
MIN_STEPS: Final = 16
"""Steps before which the model is not settled."""
ALIKE: Final = 0.5
"""Numbers of tokens that differ by less are alike: they say nothing about slopes."""
STREAM_PRIOR: Final = 0.1
"""streams^2. Evidence that a stream costs no more than its tokens, in case both always change together."""
FAR: Final = 0.5
"""Square of a deviation from the mean size, relative to the sum of those that the slopes were learned from. A size
beyond it (10 standard deviations) may lie on the other side of a knee."""
OTHER_LOAD: Final = 0.5
"""Difference of the logarithms of mean sizes. Beyond it the slopes may be others (a knee lies between them)."""
FADED: Final = 0.1
"""Share of the evidence that is kept then."""
MIN_SHARE: Final = 0.1
"""No step is predicted to take less than this share of a step of mean size."""
FIRST_DEVIATION: Final = 0.1
MIN_DEVIATION: Final = 0.02
"""Mean deviation of the logarithm of a step's time from its prediction's: at first and after a change, and at least."""
MAX_DEVIATIONS: Final = 4.0
"""A step further from its prediction is an outlier, unless its size explains it."""
NUM_CHANGED: Final = 5
"""So many outliers in a row on the same side are a change of the machine's speed."""


class StepTimeModel:
    """Learns from the steps of the engine and predicts others, in constant time and memory.

    `num_tokens` and `num_streams` are those of a whole step; `num_prompt` of the tokens are prefilled, the others are
    verified. Steps with prefill teach the cost of a prompt token and the slopes, but not the speed. As long as there
    are no others, prompt tokens count as verified ones.
    """

    def __init__(self) -> None:
        self._num_steps = 0  # that the slopes were learned from
        self._has_bare = False  # one without prefill is among them
        self._slowness = 1.0  # of the machine, relative to its first steps; all other times are relative to it
        self._deviation = FIRST_DEVIATION
        self._num_outliers = 0  # in a row on one side; negative: shorter than predicted
        self._outlier_sum = 0.0  # of their logarithms
        self._mean_tokens = 0.0
        self._mean_streams = 0.0
        self._centre_s = 0.0  # of a step of mean size
        self._token = 0.0
        self._stream = 0.0
        # Decayed sums of products of deviations from the recent means: t in tokens, s in streams, x in seconds.
        self._evidence_tokens = 0.0  # mean size when the sums began
        self._tt = 0.0
        self._ts = 0.0
        self._ss = 0.0
        self._tx = 0.0
        self._sx = 0.0
        self._prompt_token = DecayedMean(ROUND_WEIGHT)

    @property
    def mean_s(self) -> float | None:
        """A step of mean size, at the present speed; None before the first."""
        return self._slowness * self._centre_s if self._num_steps else None

    @property
    def knows_slopes(self) -> bool:
        """True after steps of different sizes."""
        return self._tt > 0.0

    @property
    def token_s(self) -> float:
        """Seconds of one more token at the present speed and size; 0 until steps had different sizes.

        While all steps are alike it is the last known value, scaled to the present speed.
        """
        return self._slowness * self._token

    @property
    def is_settled(self) -> bool:
        """True after enough steps."""
        return self._num_steps >= MIN_STEPS

    def can_predict(self, num_tokens: int) -> bool:
        """True after enough steps of about `num_tokens` tokens, or of different sizes."""
        return self.is_settled and (self.knows_slopes or abs(self._mean_tokens - num_tokens) < ALIKE)

    def observe(self, num_tokens: int, num_streams: int, step_s: float, num_prompt: int = 0) -> None:
        """A step took `step_s` seconds. A step without a measurable time is no evidence."""
        if step_s <= 0.0:
            return
        if num_prompt and self._has_bare:
            self._observe_with_prompt(num_tokens - num_prompt, num_streams, step_s / self._slowness, num_prompt)
            return
        self._has_bare = not num_prompt
        self._num_steps += 1
        if self._num_steps == 1:
            self._mean_tokens, self._mean_streams, self._centre_s = float(num_tokens), float(num_streams), step_s
            self._evidence_tokens = self._mean_tokens
            return
        relative_s = step_s / self._slowness
        tokens, streams = num_tokens - self._mean_tokens, num_streams - self._mean_streams
        expected_s = self._expected_s(tokens, streams)
        error = math.log(relative_s / expected_s)
        if not self._is_outlier(error, tokens, streams):
            self._learn(tokens, streams, relative_s - expected_s)
        elif self._follow_change(error):
            return
        self._adapt(tokens, streams, relative_s)
        self._deviation += ROUND_WEIGHT * (min(abs(error), 2.0 * self._deviation) - self._deviation)

    def _observe_with_prompt(self, num_tokens: int, num_streams: int, relative_s: float, num_prompt: int) -> None:
        """What the verified tokens leave unexplained is the prompt's; what that leaves, by size, is the slopes'.

        Under load nearly every step has prefill: without it the slopes would never be known. The speed is learned from
        other steps only.
        """
        tokens, streams = num_tokens - self._mean_tokens, num_streams - self._mean_streams
        expected_s = self._expected_s(tokens, streams)
        self._prompt_token.observe(max(0.0, relative_s - expected_s), num_prompt)
        verify_s = relative_s - self._prompt_token.get() * num_prompt
        if verify_s > 0.0 and abs(math.log(verify_s / expected_s)) <= self._max_error_of(tokens, streams):
            self._learn(tokens, streams, verify_s - expected_s)
        self._move_mean(tokens, streams)

    def predict(self, num_tokens: int, num_streams: int, num_prompt: int = 0) -> float:
        """Seconds of such a step at the present speed; 0 before the first observation."""
        if not self._num_steps:
            return 0.0
        prompt_s = self._prompt_token.get(default=self._token) * num_prompt
        tokens, streams = num_tokens - num_prompt - self._mean_tokens, num_streams - self._mean_streams
        return self._slowness * (self._expected_s(tokens, streams) + prompt_s)

    def _expected_s(self, tokens: float, streams: float) -> float:
        """A step of so many tokens and streams more than the mean, without prefill and relative to the slowness."""
        return max(MIN_SHARE * self._centre_s, self._centre_s + self._token * tokens + self._stream * streams)

    @property
    def _weight(self) -> float:
        """Of the latest step in the means."""
        return max(ROUND_WEIGHT, 1.0 / self._num_steps)

    @property
    def _max_error(self) -> float:
        return MAX_DEVIATIONS * max(MIN_DEVIATION, self._deviation)

    def _is_outlier(self, error: float, tokens: float, streams: float) -> bool:
        is_outlier = abs(error) > self._max_error and abs(error) > self._max_error_of(tokens, streams)
        if not is_outlier or (error > 0.0) is not (self._num_outliers > 0):
            self._num_outliers, self._outlier_sum = 0, 0.0
        return is_outlier

    def _max_error_of(self, tokens: float, streams: float) -> float:
        """More than max_error for a size of which the slopes know little, as far as time can grow with size."""
        explained = abs(math.log1p(tokens / self._mean_tokens)) if tokens > -self._mean_tokens else math.inf
        if self.knows_slopes:
            weight = 1.0 / self._mean_tokens**2
            streams_evidence = self._ss + STREAM_PRIOR * weight
            leverage = weight * (tokens * tokens / self._tt + streams * streams / streams_evidence)
            if leverage < FAR:
                explained = min(explained, self._max_error * math.sqrt(leverage))
        return self._max_error + explained

    def _follow_change(self, error: float) -> bool:
        """Count the outlier. True if the last ones were a change of speed, which the model then has followed."""
        self._num_outliers += 1 if error > 0.0 else -1
        self._outlier_sum += error
        if abs(self._num_outliers) < NUM_CHANGED:
            return False
        self._slowness *= math.exp(self._outlier_sum / NUM_CHANGED)
        self._num_outliers, self._outlier_sum, self._deviation = 0, 0.0, FIRST_DEVIATION
        return True

    def _learn(self, tokens: float, streams: float, unexplained_s: float) -> None:
        """Take in a step's evidence for slopes, which weighs as much at large sizes as at small ones."""
        if max(abs(tokens), abs(streams)) < ALIKE:
            return
        if abs(math.log(self._mean_tokens / self._evidence_tokens)) > OTHER_LOAD:
            self._fade_evidence()
        seconds = unexplained_s + self._token * tokens + self._stream * streams
        weight = 1.0 / self._mean_tokens**2
        self._tt = LASTING * self._tt + weight * tokens * tokens
        self._ts = LASTING * self._ts + weight * tokens * streams
        self._ss = LASTING * self._ss + weight * streams * streams
        self._tx = LASTING * self._tx + weight * tokens * seconds
        self._sx = LASTING * self._sx + weight * streams * seconds
        if not self.knows_slopes:
            return
        determinant = self._tt * (self._ss + STREAM_PRIOR * weight) - self._ts * self._ts
        self._stream = max(0.0, self._tt * self._sx - self._ts * self._tx) / determinant
        token = max(0.0, self._tx - self._stream * self._ts) / self._tt
        self._token = min(token, self._centre_s / self._mean_tokens)

    def _fade_evidence(self) -> None:
        self._evidence_tokens = self._mean_tokens
        self._tt *= FADED
        self._ts *= FADED
        self._ss *= FADED
        self._tx *= FADED
        self._sx *= FADED

    def _adapt(self, tokens: float, streams: float, relative_s: float) -> None:
        """Move the mean size along the slopes, and the slowness by what they leave unexplained."""
        weight, max_error = self._weight, self._max_error
        expected_s = self._expected_s(tokens, streams)
        ratio = min(math.exp(max_error), max(math.exp(-max_error), relative_s / expected_s))
        self._move_mean(tokens, streams)
        self._slowness *= 1.0 + weight * (ratio - 1.0)

    def _move_mean(self, tokens: float, streams: float) -> None:
        """Move the mean size along the slopes."""
        weight = self._weight
        self._centre_s += weight * (self._expected_s(tokens, streams) - self._centre_s)
        self._mean_tokens += weight * tokens
        self._mean_streams += weight * streams
