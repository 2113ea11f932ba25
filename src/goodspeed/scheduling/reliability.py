"""How far a client's confidences can be believed: what became of tokens that it was as sure of."""

from collections.abc import Sequence
from typing import Final

NUM_BINS: Final = 8
PRIOR_TRIALS: Final = 4.0
"""What a reported confidence is worth beside the outcomes of its bin."""
KEEP: Final = 1.0 - 1.0 / 128.0
"""Decay of a bin's counts per token judged in it."""
MOST: Final = 255
"""The byte that says certain."""


class ReliabilityCurve:
    """A reliability curve: acceptance by bin of reported confidence, decayed, with the report itself as prior.

    Who is honest is taken at its word from the start. Who always says 255 is soon believed at its real acceptance rate:
    to be ranked high, tokens must have been accepted.
    """

    def __init__(self) -> None:
        self._num_accepted = [0.0] * NUM_BINS
        self._num_judged = [0.0] * NUM_BINS

    def survival(self, confidences: Sequence[int]) -> list[float]:
        """Pr(the first j tokens are accepted), j = 1...; confidences as in Propose, 0 to 255."""
        survival = []
        chance = 1.0
        for confidence in confidences:
            place = _bin(confidence)
            believed = self._num_accepted[place] + PRIOR_TRIALS * confidence / MOST
            chance *= believed / (self._num_judged[place] + PRIOR_TRIALS)
            survival.append(chance)
        return survival

    def on_verdict(self, confidences: Sequence[int], num_accepted: int) -> None:
        """The confidences of the tokens that were verified; judged are those accepted and the one after them."""
        for i, confidence in enumerate(confidences[: num_accepted + 1]):
            place = _bin(confidence)
            self._num_accepted[place] = KEEP * self._num_accepted[place] + (i < num_accepted)
            self._num_judged[place] = KEEP * self._num_judged[place] + 1.0


def _bin(confidence: int) -> int:
    return min(confidence, MOST) * NUM_BINS // (MOST + 1)
