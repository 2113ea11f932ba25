"""Expected rounds of an answer from the acceptance probability of every token: exact sums, without sampling.

A round that starts at token t drafts the next tokens. If the first m are accepted, the target adds one, and the next
round starts at t + m + 1. So the probability that a round starts at a token follows from the earlier tokens, and the
expected number of remaining rounds from the later ones.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from goodspeed.stats.summary import ratio

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ExpectedRounds:
    """Expected sums over the rounds of one answer, by position in the draft."""

    num_rounds: float
    reached: Floats  # [window]: draft tokens whose predecessors were all accepted
    accepted: Floats  # [window]: those of them that were accepted too

    @property
    def num_accepted(self) -> float:
        return float(self.accepted.sum())


def expected_rounds(acceptance_probs: Sequence[float], window: int) -> ExpectedRounds:
    """Expected rounds of an answer whose token i + 1 is accepted with probability acceptance_probs[i], i = 0 .. n - 1.

    As in a drafter, no round proposes the answer's last token: the target adds it.
    """
    start_probs = round_start_probs(acceptance_probs, window)
    reached, accepted = np.zeros(window), np.zeros(window)
    for start in np.flatnonzero(start_probs).tolist():
        survival = start_probs[start]
        for position, acceptance_prob in enumerate(
            acceptance_probs[start : _end_of_draft(start, window, acceptance_probs)]
        ):
            reached[position] += survival
            survival *= acceptance_prob
            accepted[position] += survival
            if survival == 0.0:
                break
    return ExpectedRounds(float(start_probs.sum()), reached, accepted)


def accepted_per_round(answers: Iterable[Sequence[float]], window: int) -> float:
    """Mean accepted draft tokens per round over all answers' acceptance probabilities; NaN without answers."""
    rounds = [expected_rounds(acceptance_probs, window) for acceptance_probs in answers]
    return ratio(sum(expected.num_accepted for expected in rounds), sum(expected.num_rounds for expected in rounds))


def round_start_probs(
    acceptance_probs: Sequence[float],  # n
    grant: float,
) -> Floats:
    """[n]: the probability that a round starts before each token.

    A grant between two integers is one of them in each round, at random, with this mean.
    """
    start_probs = np.zeros(len(acceptance_probs) + 1)
    start_probs[0] = 1.0
    for start in range(len(acceptance_probs)):
        for window, share in _windows(grant):
            survival, end = share * start_probs[start], _end_of_draft(start, window, acceptance_probs)
            for position in range(start, end):
                if survival == 0.0:
                    break
                start_probs[position + 1] += survival * (1.0 - acceptance_probs[position])
                survival *= acceptance_probs[position]
            start_probs[end + 1] += survival
    return start_probs[:-1]


def rounds_saved(
    acceptance_probs: Sequence[float],  # n
    grant: float,
) -> Floats:
    """[n]: -dR/da, the exact decrease of the number of rounds R with each acceptance probability a; never negative.

    R is linear in each probability. If the draft token at a position is accepted, the rest of its round follows; if
    not, a new round starts after it. The difference between the two is summed over the rounds that may reach it.
    """
    start_probs, remaining = round_start_probs(acceptance_probs, grant), _remaining_rounds(acceptance_probs, grant)
    saved = np.zeros(len(acceptance_probs))
    for start in np.flatnonzero(start_probs).tolist():
        for window, share in _windows(grant):
            after_prefix = _remaining_after_prefix(start, window, acceptance_probs, remaining)
            survival = share * start_probs[start]
            for position, after in enumerate(after_prefix[1:], start):
                saved[position] += survival * (remaining[position + 1] - after)
                survival *= acceptance_probs[position]
    return saved


def _remaining_rounds(acceptance_probs: Sequence[float], grant: float) -> Floats:
    """[n + 1]: expected rounds to the answer's end if a round starts before each token."""
    remaining = np.zeros(len(acceptance_probs) + 1)
    for start in range(len(acceptance_probs) - 1, -1, -1):
        branches = [
            (share, _remaining_after_prefix(start, window, acceptance_probs, remaining)[0])
            for window, share in _windows(grant)
        ]
        remaining[start] = 1.0 + sum(share * rounds for share, rounds in branches)
    return remaining


def _remaining_after_prefix(
    start: int, window: int, acceptance_probs: Sequence[float], remaining: Floats
) -> list[float]:
    """Expected rounds after this one, given that the first 0, 1, .. of its draft tokens are accepted."""
    end = _end_of_draft(start, window, acceptance_probs)
    backwards = [float(remaining[end + 1])]
    for position in range(end - 1, start - 1, -1):
        rejected = (1.0 - acceptance_probs[position]) * float(remaining[position + 1])
        backwards.append(acceptance_probs[position] * backwards[-1] + rejected)
    return backwards[::-1]


def _windows(grant: float) -> list[tuple[int, float]]:
    """(window, share of rounds) with this mean."""
    below, above = math.floor(grant), grant - math.floor(grant)
    return [(below, 1.0)] if above == 0.0 else [(below, 1.0 - above), (below + 1, above)]


def _end_of_draft(start: int, window: int, acceptance_probs: Sequence[float]) -> int:
    """The position after the last draft token of a round."""
    return min(start + window, len(acceptance_probs) - 1)
