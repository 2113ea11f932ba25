"""Draft selection: which proposed tokens a batch verifies when the proposals together exceed its budget (TETRIS).

Grants are promised a round ahead, from averages. When a batch closes, it has the proposals, and the confidences of the
drafters in these very tokens. So the budget can go to the tokens that have the most value now:

    value of token j of proposal i = w_i U'(X_i) Pr(the first j are accepted) - price_i

Values never rise with j. So the best `budget` of all tokens are the first tokens of every proposal, and they maximise
the sum. A price is what a token costs the other clients: the time that it adds to the step. Tokens whose value is not
positive are not verified.
"""

import math
from collections.abc import Callable, Sequence

from msgspec import Struct

from goodspeed.registry import Registry


class ProposalCandidate(Struct, frozen=True, gc=False):
    """What a draft selection sees of a proposal."""

    token_value: float
    """w U'(X): utility of a committed token of this stream."""
    survival: Sequence[float]
    """Pr(the first j tokens are accepted) for each token j of the proposal; never rising.

    Under the rejection rule with draft probabilities it must not depend on which tokens were drawn.
    """
    price: float = 0.0
    """Utility that a verified token costs other clients."""
    floor: int = 0
    """Tokens that the client is entitled to, whatever their value."""


DraftSelection = Callable[[Sequence[ProposalCandidate], int], list[int]]
"""From candidates in order of arrival and the budget in tokens to the number of tokens of each that are verified."""


def select_by_arrival(candidates: Sequence[ProposalCandidate], budget: int) -> list[int]:
    """First come, first served."""
    lengths = []
    for candidate in candidates:
        lengths.append(min(len(candidate.survival), budget))
        budget -= lengths[-1]
    return lengths


def select_by_value(candidates: Sequence[ProposalCandidate], budget: int) -> list[int]:
    """The `budget` tokens with the highest positive values; floors come first.

    Of tokens with equal values the earlier one of its proposal is taken, then the one that arrived earlier.
    """
    max_lengths = [_num_positive(candidate) for candidate in candidates]
    if sum(max_lengths) <= budget:
        return max_lengths
    costs = [
        (-math.inf if j < candidate.floor else candidate.price - candidate.token_value * chance, j, i)
        for i, candidate in enumerate(candidates)
        for j, chance in enumerate(candidate.survival[: max_lengths[i]])
    ]
    lengths = [0] * len(candidates)
    for _, _, i in sorted(costs)[:budget]:
        lengths[i] += 1
    return lengths


def select_by_survival(candidates: Sequence[ProposalCandidate], budget: int) -> list[int]:
    """The `budget` tokens that are most likely accepted, whoever proposed them: no fairness, no floors, no prices.

    TETRIS (arXiv 2502.15197) ranks so; vLLM's adaptive verification (pull request 47808) also chooses the budget, as
    the number of tokens with the most accepted ones in a second of the step (Batch.sizes).
    """
    return select_by_value([ProposalCandidate(1.0, candidate.survival) for candidate in candidates], budget)


def _num_positive(candidate: ProposalCandidate) -> int:
    """The number of tokens with a positive value, or within the floor."""
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
        "survival": select_by_survival,
    },
)
