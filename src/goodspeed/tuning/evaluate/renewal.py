"""From the chance of acceptance at every token to what rounds bring: exact sums, nothing drawn.

A round that begins at token t drafts the next ones; the first m are accepted, the target adds one, and the next round
begins at t + m + 1. So the probability that a round begins at a token follows from those before it, and the number of
rounds that are still to come from those after it.
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
    """Expected sums over the rounds of one answer, by place in the draft."""

    num_rounds: float
    judged: Floats  # [window]: draft tokens all before which were accepted
    accepted: Floats  # [window]: those of them that were accepted too

    @property
    def num_accepted(self) -> float:
        return float(self.accepted.sum())


def expected_rounds(chances: Sequence[float], window: int) -> ExpectedRounds:
    """Of an answer whose token i + 1 a draft would meet with probability chances[i], i = 0 .. n - 1.

    As a drafter does, no round proposes beyond the answer's last token but one: the last is the target's own.
    """
    begins = round_start_probs(chances, window)
    judged, accepted = np.zeros(window), np.zeros(window)
    for start in np.flatnonzero(begins).tolist():
        alive = begins[start]
        for place, chance in enumerate(chances[start : _last(start, window, chances)]):
            judged[place] += alive
            alive *= chance
            accepted[place] += alive
            if alive == 0.0:
                break
    return ExpectedRounds(float(begins.sum()), judged, accepted)


def accepted_per_round(answers: Iterable[Sequence[float]], window: int) -> float:
    """Mean over the rounds of all answers, each given as to expected_rounds. NaN of none."""
    rounds = [expected_rounds(chances, window) for chances in answers]
    return ratio(sum(one.num_accepted for one in rounds), sum(one.num_rounds for one in rounds))


def round_start_probs(
    chances: Sequence[float],  # n
    grant: float,
) -> Floats:
    """[n]: the probability that a round begins before each token.

    A grant between integers is the one below or the one above, drawn for each round so that the mean is met.
    """
    begins = np.zeros(len(chances) + 1)
    begins[0] = 1.0
    for start in range(len(chances)):
        for window, share in _windows(grant):
            alive, last = share * begins[start], _last(start, window, chances)
            for place in range(start, last):
                if alive == 0.0:
                    break
                begins[place + 1] += alive * (1.0 - chances[place])
                alive *= chances[place]
            begins[last + 1] += alive
    return begins[:-1]


def rounds_saved(
    chances: Sequence[float],  # n
    grant: float,
) -> Floats:
    """[n]: by how much the number of rounds falls with the chance of each token, -dR/da: exact, and never negative.

    R is linear in each chance. If the draft token at p is accepted, the rest of its round is still to come; if not, a
    new round begins after p. The difference between the two is counted for every round that may reach p.
    """
    begins, to_come = round_start_probs(chances, grant), _rounds_to_come(chances, grant)
    saved = np.zeros(len(chances))
    for start in np.flatnonzero(begins).tolist():
        for window, share in _windows(grant):
            rest = _rest_of_round(start, window, chances, to_come)
            alive = share * begins[start]
            for place, after in enumerate(rest[1:], start):
                saved[place] += alive * (to_come[place + 1] - after)
                alive *= chances[place]
    return saved


def _rounds_to_come(chances: Sequence[float], grant: float) -> Floats:
    """[n + 1]: expected rounds from a beginning before each token to the answer's end."""
    to_come = np.zeros(len(chances) + 1)
    for start in range(len(chances) - 1, -1, -1):
        rests = [(share, _rest_of_round(start, window, chances, to_come)) for window, share in _windows(grant)]
        to_come[start] = 1.0 + sum(share * rest[0] for share, rest in rests)
    return to_come


def _rest_of_round(start: int, window: int, chances: Sequence[float], to_come: Floats) -> list[float]:
    """Expected rounds after this one, given that the draft tokens before each place of it are accepted."""
    last = _last(start, window, chances)
    rest = [float(to_come[last + 1])]
    for place in range(last - 1, start - 1, -1):
        rest.append(chances[place] * rest[-1] + (1.0 - chances[place]) * float(to_come[place + 1]))
    return rest[::-1]


def _windows(grant: float) -> list[tuple[int, float]]:
    """(window, share of rounds) with this mean."""
    below, above = math.floor(grant), grant - math.floor(grant)
    return [(below, 1.0)] if above == 0.0 else [(below, 1.0 - above), (below + 1, above)]


def _last(start: int, window: int, chances: Sequence[float]) -> int:
    """The place after the last draft token of a round."""
    return min(start + window, len(chances) - 1)
