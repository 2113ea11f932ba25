"""How many tokens the verifier drafts for a stream: as many as are expected to be worth their time."""

from collections.abc import Sequence
from typing import NamedTuple


class CoLocatedPrices(NamedTuple):
    """Utility that the streams of a step lose, together, by what is added to it; and the round times behind it."""

    drafting: float = 0.0
    """A step of co-located drafting, which proposes a token or ends the draft."""
    verifying: float = 0.0
    """A verified token."""
    round_s: float = 0.0
    """Harmonic mean of the round times of the step's streams, by weight; 0: not known."""


def best_length(
    survival: Sequence[float],  # of co-located tokens
    drafted: Sequence[float],  # Pr(the draft has at least so many tokens), as long as survival
    token_value: float,
    prices: CoLocatedPrices,
    proposed: Sequence[float] = (),  # survival of the tokens that the drafter has proposed
) -> int:
    """The length of draft with the highest gain; 0 if none gains.

    A draft in a remote round either replaces the proposal or continues it: it gains what it brings beyond the proposal,
    or what survives behind its last token.
    """
    num_proposed = sum(proposed)
    last = proposed[-1] if proposed else 1.0
    best, best_gain = 0, 0.0
    num_accepted, num_steps, num_drafted = 0.0, 1.0, 0.0
    for j, (chance, reached) in enumerate(zip(survival, drafted, strict=True), start=1):
        num_accepted += chance
        num_drafted += reached
        gained = max(num_accepted - num_proposed, last * num_accepted if proposed else 0.0)
        gain = token_value * gained - prices.drafting * num_steps - prices.verifying * num_drafted
        if gain > best_gain:
            best, best_gain = j, gain
        num_steps += reached
    return best
