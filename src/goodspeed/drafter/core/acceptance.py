"""How a stream's drafts fared."""

from typing import Final

LATEST_WEIGHT: Final = 0.2
"""Weight of the latest round."""
KEPT = 0.9
"""Of the evidence for the rate, with every round: the last ten or so count."""
PRIOR_ACCEPTED, PRIOR_JUDGED = 3.0, 4.0
"""What a stream begins with: a rate of 0.75, worth four judged tokens."""


class Acceptance:
    """Of one stream, over its rounds."""

    def __init__(self) -> None:
        self.recent = 1.0
        """accepted / proposed, smoothed; 1.0 before the first proposal."""
        self.last: float | None = None
        """accepted / proposed of the last round that proposed anything."""
        self._accepted = PRIOR_ACCEPTED
        self._judged = PRIOR_JUDGED

    @property
    def rate(self) -> float:
        """Of a token all before which were accepted.

        A round tells of its accepted tokens and of the first rejected one; of the rest nothing is known. So this is the
        likeliest rate of a geometric law, decayed, and does not depend on the window as accepted / proposed does.
        """
        return self._accepted / self._judged

    def on_round(self, num_proposed: int, num_accepted: int) -> None:
        if num_proposed:
            self.last = num_accepted / num_proposed
            self.recent += LATEST_WEIGHT * (self.last - self.recent)
            self._accepted = KEPT * self._accepted + num_accepted
            self._judged = KEPT * self._judged + num_accepted + (num_accepted < num_proposed)
