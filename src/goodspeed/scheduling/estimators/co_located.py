"""Acceptance of the verifier's own drafts by position. Every stream may have one in every step, so it is cheap."""

import math
from typing import Final

from goodspeed.stats.ewma import DecayedMean

MIN_WEIGHT: Final = 1 / 32
"""Weight of a draft in the estimate once there were many."""
NEW_PROMPT_DRAFTS: Final = 8.0
"""How many drafts of a new prompt weigh as much as those before it."""
EXPLORED_STEPS: Final = 4.0
"""Steps of drafting that exploration counts for a draft."""
MAX_TIME_SHARE: Final = 0.01
"""Share of the time that streams may spend on drafts which are not expected to pay."""


class CoLocatedAcceptance:
    """What the verifier's own drafts are worth for the streams of a client.

    A moving average of the outcomes; the first drafts, and those of a new prompt, weigh more. No estimator of proposals
    serves here: they take 20 to 80 us a round (docs/measurements/estimators.md), this one 2 us.
    """

    __slots__ = ("_num_drafts", "_num_undrafted", "_precision", "survival")

    def __init__(self) -> None:
        self.survival: list[float] = []
        """survival[j - 1] = Pr(the first j are accepted), as far as drafts were requested."""
        self._num_drafts = 0.0
        self._num_undrafted = math.inf  # rounds since the last draft
        self._precision = DecayedMean(MIN_WEIGHT)

    @property
    def precision(self) -> float:
        """Share of drafted tokens that is accepted; 1 before the first draft."""
        return self._precision.get(default=1.0)

    @property
    def drafted(self) -> list[float]:
        """drafted[j - 1] = Pr(a draft has at least j tokens), estimated from what is accepted of drafts."""
        scale = max(self.precision, 1e-3)
        return [min(1.0, chance / scale) for chance in self.survival]

    def on_stream(self) -> None:
        """The client starts a new prompt."""
        self._num_drafts = min(self._num_drafts, NEW_PROMPT_DRAFTS)
        self._num_undrafted = math.inf

    def on_undrafted(self) -> None:
        """A round takes place without a draft, since none would pay."""
        self._num_undrafted += 1.0

    def explores(self, step_price: float) -> bool:
        """Whether a draft is due that is not expected to pay; a step of drafting costs this share of a round."""
        return self._num_undrafted * MAX_TIME_SHARE >= EXPLORED_STEPS * step_price

    def on_draft(self, num_requested: int, num_drafted: int, num_accepted: int) -> None:
        """Of a draft of up to `num_requested` tokens, which has `num_drafted`, the first `num_accepted` were right.

        Tokens that were requested and not drafted count as not accepted. Where it is not known how far a draft was
        right, `num_requested` is the number of tokens that are known to be: the chance of further tokens, given those,
        stays as it was.
        """
        self._num_undrafted = 0.0
        weight = max(MIN_WEIGHT, 1.0 / (1.0 + self._num_drafts))
        self._num_drafts += 1.0
        if num_drafted:
            self._precision.observe(num_accepted, num_drafted)
        curve = self.survival
        num_known = len(curve)
        last = before = 1.0
        for j in range(num_requested):
            before = curve[j] if j < num_known else before
            last = before + weight * ((num_accepted > j) - before)
            if j < num_known:
                curve[j] = last
            else:
                curve.append(last)
        if num_requested:
            ratio = last / before if before > 0.0 else 0.0
            for j in range(num_requested, num_known):
                curve[j] *= ratio
