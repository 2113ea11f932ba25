"""How many of a stream's draft tokens the target accepts."""

from typing import Final

LATEST_WEIGHT: Final = 0.2
"""Weight of the latest round in the recent acceptance."""
DECAY: Final = 0.9
"""Factor by which each round reduces the weight of the rounds before it: about the last ten count."""
PRIOR_ACCEPTED: Final = 3.0
PRIOR_VERIFIED: Final = 4.0
"""A stream starts with a rate of 0.75 that weighs as much as four verified tokens."""


class StreamAcceptance:
    """Acceptance of one stream's draft tokens, over its rounds."""

    def __init__(self) -> None:
        self.recent = 1.0
        """accepted / proposed, smoothed; 1.0 before the first proposal."""
        self.last: float | None = None
        """accepted / proposed of the last round that proposed a token; None before it."""
        self._accepted = PRIOR_ACCEPTED
        self._verified = PRIOR_VERIFIED

    @property
    def rate(self) -> float:
        """Probability that a token is accepted if all tokens before it in its proposal were.

        A round shows its accepted tokens and the first rejected one; the tokens after that are unknown. The rate is the
        maximum-likelihood estimate for a geometric distribution, with decay. Unlike accepted / proposed it does not
        depend on the window.
        """
        return self._accepted / self._verified

    def on_round(self, num_proposed: int, num_accepted: int) -> None:
        if num_proposed:
            self.last = num_accepted / num_proposed
            self.recent += LATEST_WEIGHT * (self.last - self.recent)
            self._accepted = DECAY * self._accepted + num_accepted
            self._verified = DECAY * self._verified + num_accepted + (num_accepted < num_proposed)
