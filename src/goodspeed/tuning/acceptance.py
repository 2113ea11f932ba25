"""What a greedy verifier would accept of a student, from where it agrees with the target's text."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hits = npt.NDArray[np.bool_]  # [n]: at each answer token, whether the student's likeliest token is the target's


def agreement(answers: Sequence[Hits]) -> float:
    """Share of all answer tokens."""
    return float(np.concatenate(answers).mean())


def accepted_per_round(answers: Sequence[Hits], window: int) -> float:
    """Mean number of accepted draft tokens a round, the bonus token not counted.

    Exact for greedy drafts: all that is accepted is the target's text, so each draft token is judged after that text.
    """
    rounds = [accepted for hits in answers for accepted in _rounds(hits, window)]
    return float(np.mean(rounds))


def _rounds(hits: Hits, window: int) -> list[int]:
    found, place = [], 0
    while place < len(hits):
        tried = hits[place : place + window]
        accepted = len(tried) if tried.all() else int(np.argmin(tried))
        found.append(accepted)
        place += accepted + 1
    return found
