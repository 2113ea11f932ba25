"""How many tokens of past proposals were accepted: what every window would have brought, as far as rounds show it."""

from typing import Final

from msgspec import Struct

DECAY: Final = 0.995
"""Factor by which each round reduces the weight of the rounds before it: about the last 200 count."""
MAX_WEIGHT: Final = 1e9
"""Weights grow from round to round, and are scaled down when they reach this."""


class PositionTrials(Struct, frozen=True, gc=False):
    """The verified tokens at one position of proposals, whose tokens before it were accepted. Both by weight."""

    num_verified: float
    num_accepted: float


class AcceptedPrefixes:
    """Rounds by the length of their accepted prefix, with decay; the latest round has the weight 1.

    A round that verifies n tokens and accepts a of them shows for every window k up to n that it would have brought
    min(a, k) of them. A rejection shows it for longer windows too: only whole proposals are censored. So acceptance is
    counted for each position over the rounds that reached it (the product-limit estimate, Kaplan and Meier 1958).
    """

    def __init__(self) -> None:
        self._weight = 1.0  # of the latest round, relative to those in the lists
        self._rejected: list[float] = []  # rounds with a rejected token, by the number of accepted ones
        self._whole: list[float] = []  # rounds without, by the number of accepted ones

    def on_round(self, num_verified: int, num_accepted: int) -> None:
        """A proposal's first `num_verified` tokens were verified, and the first `num_accepted` of them accepted."""
        if not num_verified:
            return
        while len(self._rejected) <= num_verified:
            self._rejected.append(0.0)
            self._whole.append(0.0)
        self._weight /= DECAY
        if self._weight > MAX_WEIGHT:
            self._rejected = [weight / self._weight for weight in self._rejected]
            self._whole = [weight / self._weight for weight in self._whole]
            self._weight = 1.0
        rounds = self._rejected if num_accepted < num_verified else self._whole
        rounds[num_accepted] += self._weight

    @property
    def num_rounds(self) -> float:
        """All rounds, by weight."""
        return (sum(self._rejected) + sum(self._whole)) / self._weight

    def trials(self, max_window: int) -> list[PositionTrials]:
        """Of the first `max_window` positions."""
        num_known = len(self._rejected)
        trials = [PositionTrials(0.0, 0.0)] * max_window
        num_accepted = 0.0
        for position in range(num_known - 1, 0, -1):  # from 1
            num_accepted += (self._rejected[position] + self._whole[position]) / self._weight
            if position <= max_window:
                num_verified = num_accepted + self._rejected[position - 1] / self._weight
                trials[position - 1] = PositionTrials(num_verified, num_accepted)
        return trials
