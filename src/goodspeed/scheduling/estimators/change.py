"""When the load last changed: run lengths and their probabilities (Adams and MacKay, arXiv 0710.3742).

Before every round the client's acceptance may change, with a small probability; all earlier evidence is then void. So
each past round may have been the last change. Its hypothesis holds the evidence since then, and its probability grows
as far as that evidence explains the outcomes. Under a steady load the oldest hypothesis prevails, and the weight of a
round in the estimate falls as 1/t, down to a floor. After a change the old hypothesis explains the new outcomes badly.
A young one takes over within as many rounds as it takes to see the change, and the estimate moves fast again. There is
no step size and no threshold.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from goodspeed.scheduling.estimators.evidence import Evidence

CHANGE_PROBABILITY = 0.001
"""Per round. So a change prevails once it explains the outcomes better by a factor of 1000."""
KEEP = 0.99
"""Decay of the evidence per round, so that a slow drift is followed over a hundred rounds."""
MAX_HYPOTHESES = 4
"""Neighbours merge: ages of about 1, 5, 40 and 800 rounds suffice (docs/measurements/estimators.md)."""


@dataclass(slots=True)
class Hypothesis:
    """The load last changed `num_rounds` rounds ago."""

    evidence: Evidence  # of the rounds since
    probability: float
    num_rounds: int = 0


class RunLengths:
    """The hypotheses, the oldest first; their probabilities sum to 1. `fresh` makes evidence of no rounds."""

    def __init__(self, fresh: Callable[[], Evidence]) -> None:
        self._fresh = fresh
        self._hypotheses = [Hypothesis(fresh(), 1.0)]

    def __iter__(self) -> Iterator[Hypothesis]:
        return iter(self._hypotheses)

    def expect_change(self, probability: float, fresh: Evidence) -> None:
        """A change at this moment has this probability; `fresh` is the evidence that would then be left."""
        for hypothesis in self._hypotheses:
            hypothesis.probability *= 1.0 - probability
        self._hypotheses.append(Hypothesis(fresh, probability))
        self._merge()

    def observe(self, num_granted: int, num_accepted: int) -> None:
        """One more round with draft tokens."""
        self.expect_change(CHANGE_PROBABILITY, self._fresh())
        total = 0.0
        for hypothesis in self._hypotheses:
            hypothesis.probability *= hypothesis.evidence.likelihood(num_granted, num_accepted)
            total += hypothesis.probability
            hypothesis.evidence.observe(num_granted, num_accepted, keep=KEEP)
            hypothesis.num_rounds += 1
        for hypothesis in self._hypotheses:
            hypothesis.probability /= total

    def _merge(self) -> None:
        """Merge the two neighbours of most similar age into the more probable one, with the probability of both."""
        if len(self._hypotheses) <= MAX_HYPOTHESES:
            return
        ages = [hypothesis.num_rounds + 1 for hypothesis in self._hypotheses]
        ratios = [age / next_age for age, next_age in pairwise(ages)]
        index = ratios.index(min(ratios))
        older, newer = self._hypotheses[index : index + 2]
        merged = older if older.probability >= newer.probability else newer
        merged.probability = older.probability + newer.probability
        if index == 0:
            merged.num_rounds = older.num_rounds  # the oldest stays the oldest, so that ages span all rounds
        self._hypotheses[index : index + 2] = [merged]
