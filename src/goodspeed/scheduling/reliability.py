"""How far a client's confidences can be trusted: the acceptance of earlier tokens with similar confidences."""

from collections.abc import Sequence
from typing import Final

NUM_BINS: Final = 8
PRIOR_TRIALS: Final = 4.0
"""How many outcomes of its bin a reported confidence weighs as much as."""
KEEP: Final = 1.0 - 1.0 / 128.0
"""Decay of a bin's counts per verified token in it."""
MAX_CONFIDENCE: Final = 255
"""The byte that stands for certainty."""


class ReliabilityCurve:
    """Acceptance by bin of reported confidence, decayed, with the report itself as prior.

    Honest confidences are trusted from the start. A client that always reports 255 is soon given its real acceptance
    rate: to be ranked high, its tokens must have been accepted.
    """

    def __init__(self) -> None:
        self._num_accepted = [0.0] * NUM_BINS
        self._num_verified = [0.0] * NUM_BINS

    def survival(self, confidences: Sequence[int]) -> list[float]:
        """Pr(the first j tokens are accepted), j = 1...; confidences as in Propose, 0 to 255."""
        survival = []
        chance = 1.0
        for confidence in confidences:
            index = _bin(confidence)
            num_accepted = self._num_accepted[index] + PRIOR_TRIALS * confidence / MAX_CONFIDENCE
            chance *= num_accepted / (self._num_verified[index] + PRIOR_TRIALS)
            survival.append(chance)
        return survival

    def on_verdict(self, confidences: Sequence[int], num_accepted: int) -> None:
        """Confidences of a verified proposal. The accepted tokens and the first rejected one are evidence."""
        for i, confidence in enumerate(confidences[: num_accepted + 1]):
            index = _bin(confidence)
            self._num_accepted[index] = KEEP * self._num_accepted[index] + (i < num_accepted)
            self._num_verified[index] = KEEP * self._num_verified[index] + 1.0


def _bin(confidence: int) -> int:
    return min(confidence, MAX_CONFIDENCE) * NUM_BINS // (MAX_CONFIDENCE + 1)
