"""Acceptance of the verifier's own drafts by position. Every stream may have one in every step, so it is cheap."""

from typing import Final

from goodspeed.stats.ewma import DecayedMean

MIN_WEIGHT: Final = 1 / 32
"""Weight of a draft in the estimate once there were many."""
NEW_PROMPT_DRAFTS: Final = 8.0
"""How many drafts of a new prompt weigh as much as those before it."""


class CoLocatedAcceptance:
    """What the verifier's own drafts are worth for the streams of a client.

    A moving average of the outcomes; the first drafts, and those of a new prompt, weigh more. No estimator of proposals
    serves here: they take 20 to 80 us a round (docs/measurements/estimators.md), this one 2 us.
    """

    __slots__ = ("_num_drafts", "_utilisation", "survival")

    def __init__(self) -> None:
        self.survival: list[float] = []
        """survival[j - 1] = Pr(the first j are accepted), as far as drafts were requested."""
        self._num_drafts = 0.0
        self._utilisation = DecayedMean(MIN_WEIGHT)

    @property
    def utilisation(self) -> float:
        """Share of requested tokens that are verified; 1 before the first draft."""
        return self._utilisation.get(default=1.0)

    def on_stream(self) -> None:
        """The client starts a new prompt."""
        self._num_drafts = min(self._num_drafts, NEW_PROMPT_DRAFTS)

    def on_draft(self, num_requested: int, num_accepted: int, num_verified: int) -> None:
        """The target accepted `num_accepted` of the `num_verified` tokens of a draft.

        Tokens that were requested and not drafted count as not accepted. Where the batch cut the draft, `num_requested`
        is what it left: the chance of further tokens, given those, stays as it was.
        """
        weight = max(MIN_WEIGHT, 1.0 / (1.0 + self._num_drafts))
        self._num_drafts += 1.0
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
            self._utilisation.observe(num_verified, num_requested)
            ratio = last / before if before > 0.0 else 0.0
            for j in range(num_requested, num_known):
                curve[j] *= ratio
