"""Judged draft tokens, counted: what is known of acceptance when the evidence is censored at the first rejection.

A round that keeps m of S proposed tokens has judged the first m, and one more if m < S; of the rest it says nothing.
"""

from collections.abc import Sequence
from typing import Protocol

from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, PRIOR_TOKENS, within_bounds

SHRINKAGE_TOKENS = 32.0
"""How many judged tokens at a position weigh as much as the client's pooled acceptance rate there.

Fewer follow the noise: a single rejection at a position that is rarely reached would close it for long. From 32 on a
geometric client loses nothing that can be measured (docs/estimators.md).
"""


class Evidence(Protocol):
    """A summary of rounds that is as good as the rounds themselves, for one model of acceptance."""

    @property
    def acceptance_rate(self) -> float:
        """Posterior mean over all positions, within bounds."""

    def survival(self, num_positions: int) -> Sequence[float]:
        """As ClientView.survival, for the first so many positions; empty if acceptance is taken for geometric."""

    def observe(self, num_granted: int, num_accepted: int) -> None:
        """One more round."""

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        """Of this outcome of the next round, > 0."""

    def decay(self, keep: float) -> None:
        """All counts times `keep`, 0..1."""


class GeometricEvidence:
    """One acceptance rate for all positions: accepted / judged is its maximum-likelihood estimate under censoring.

    (The mean of per-round ratios is not: it weighs short rounds too much.) The prior is Beta, worth `prior_tokens`.
    """

    __slots__ = ("_num_accepted", "_num_judged")

    def __init__(self, prior_rate: float = INITIAL_ACCEPTANCE_RATE, prior_tokens: float = PRIOR_TOKENS) -> None:
        self._num_accepted = prior_rate * prior_tokens
        self._num_judged = prior_tokens

    @property
    def acceptance_rate(self) -> float:
        return within_bounds(self._num_accepted / self._num_judged)

    def survival(self, num_positions: int) -> Sequence[float]:
        del num_positions
        return ()

    def observe(self, num_granted: int, num_accepted: int) -> None:
        self._num_accepted += num_accepted
        self._num_judged += num_accepted + (num_accepted < num_granted)

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        rate = self.acceptance_rate
        passed = rate**num_accepted
        return passed * (1.0 - rate) if num_accepted < num_granted else passed

    def decay(self, keep: float) -> None:
        self._num_accepted *= keep
        self._num_judged *= keep


class SurvivalEvidence:
    """One acceptance rate for each position, given those before it: Kaplan and Meier's product-limit estimate.

    At position j the rate is (accepted_j + n a) / (judged_j + n), a the client's pooled rate and n = SHRINKAGE_TOKENS:
    positions never seen go on geometrically. The survival curve is the running product of these rates, so it never
    rises.
    """

    __slots__ = ("_accepted", "_judged", "_pooled", "_survival")

    def __init__(self, prior_rate: float = INITIAL_ACCEPTANCE_RATE, prior_tokens: float = PRIOR_TOKENS) -> None:
        self._pooled = GeometricEvidence(prior_rate, prior_tokens)
        self._accepted: list[float] = []
        self._judged: list[float] = []
        self._survival: list[float] = []  # of the positions seen

    @property
    def acceptance_rate(self) -> float:
        return self._pooled.acceptance_rate

    def survival(self, num_positions: int) -> Sequence[float]:
        curve = self._survival[:num_positions]
        if len(curve) == num_positions:
            return curve
        rate = self.acceptance_rate
        last = curve[-1] if curve else 1.0
        return curve + [last * rate**j for j in range(1, num_positions - len(curve) + 1)]

    def observe(self, num_granted: int, num_accepted: int) -> None:
        self._pooled.observe(num_granted, num_accepted)
        num_judged = num_accepted + (num_accepted < num_granted)
        num_unseen = num_judged - len(self._judged)
        if num_unseen > 0:
            self._accepted.extend([0.0] * num_unseen)
            self._judged.extend([0.0] * num_unseen)
        for position in range(num_judged):
            self._judged[position] += 1.0
        for position in range(num_accepted):
            self._accepted[position] += 1.0
        self._multiply()

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        curve = (1.0, *self.survival(num_accepted + 1))
        return curve[num_accepted] - curve[num_accepted + 1] if num_accepted < num_granted else curve[num_accepted]

    def decay(self, keep: float) -> None:
        self._pooled.decay(keep)
        self._accepted = [keep * count for count in self._accepted]
        self._judged = [keep * count for count in self._judged]

    def _multiply(self) -> None:
        prior = SHRINKAGE_TOKENS * self.acceptance_rate
        survival = 1.0
        self._survival.clear()
        for accepted, judged in zip(self._accepted, self._judged, strict=True):
            survival *= (accepted + prior) / (judged + SHRINKAGE_TOKENS)
            self._survival.append(survival)
