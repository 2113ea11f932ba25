"""DraftSelection: how much of each proposal the closing batch verifies, where the proposals together exceed its budget.

Grants are promised a round ahead, from averages. When a batch closes, the proposals are there, and with them what the
drafters know of these very tokens. So the budget can go to the tokens that are worth most now:

    value of token j of proposal i = w_i U'(X_i) Pr(the first j are accepted) - price_i

Values never rise with j, so taking the best `budget` of all tokens takes a beginning of every proposal, and maximises
the sum. A price is what a token costs the others: the time that it adds to the step. Tokens worth less are left out.
"""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from goodspeed.registry import Registry


class ProposalCandidate(Struct, frozen=True, gc=False):
    """A proposal, as the closing batch sees it."""

    token_value: float
    """w U'(X): what a committed token of this stream is worth, in utility."""
    survival: Sequence[float]
    """Pr(the first j tokens are accepted) for each token j of the proposal; never rising.

    Under the rejection rule with draft probabilities it must not depend on which tokens were drawn.
    """
    price: float = 0.0
    """In utility, per token."""
    floor: int = 0
    """Tokens that its client has a right to, whatever they are worth."""


DraftSelection = Callable[[Sequence[ProposalCandidate], int], list[int]]
"""Bids in order of arrival and the budget in tokens -> how many tokens of each are verified."""


def select_by_arrival(candidates: Sequence[ProposalCandidate], budget: int) -> list[int]:
    """Who comes first is served first."""
    lengths = []
    for candidate in candidates:
        lengths.append(min(len(candidate.survival), budget))
        budget -= lengths[-1]
    return lengths


def select_by_value(candidates: Sequence[ProposalCandidate], budget: int) -> list[int]:
    """The `budget` tokens of all candidates that are worth most, of those worth more than their price; floors go first.

    Ties: earlier token, earlier arrival.
    """
    most = [_num_worthwhile(candidate) for candidate in candidates]
    if sum(most) <= budget:
        return most
    costs = [
        (-math.inf if j < candidate.floor else candidate.price - candidate.token_value * chance, j, i)
        for i, candidate in enumerate(candidates)
        for j, chance in enumerate(candidate.survival[: most[i]])
    ]
    lengths = [0] * len(candidates)
    for _, _, i in sorted(costs)[:budget]:
        lengths[i] += 1
    return lengths


def _num_worthwhile(candidate: ProposalCandidate) -> int:
    """Tokens worth more than their price, or within the floor."""
    num_tokens = 0
    for chance in candidate.survival:
        if num_tokens >= candidate.floor and candidate.price >= candidate.token_value * chance:
            break
        num_tokens += 1
    return num_tokens


DRAFT_SELECTIONS: Registry[DraftSelection] = Registry(
    "draft selection",
    {
        "arrival": select_by_arrival,
        "value": select_by_value,
    },
)
