"""Counts of verified draft tokens: evidence of acceptance that is censored at the first rejection.

A round that accepts m of S proposed tokens has decided on the first m, and on one more if m < S. Here only these count
as verified; of the rest nothing is known.
"""

from collections.abc import Sequence
from typing import Protocol

from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, PRIOR_TOKENS, within_bounds

SHRINKAGE_TOKENS = 32.0
"""How many verified tokens at a position weigh as much as the client's pooled acceptance rate there.

A smaller number follows the noise: one rejection at a position that is rarely reached would exclude it for long. From
32 on, a geometric client loses nothing measurable (docs/measurements/estimators.md).
"""


class Evidence(Protocol):
    """A sufficient statistic of rounds, for one model of acceptance."""

    @property
    def acceptance_rate(self) -> float:
        """Posterior mean over all positions, within bounds."""

    def survival(self, num_positions: int) -> Sequence[float]:
        """As ClientView.survival, for the first positions; empty if the model is geometric."""

    def observe(self, num_granted: int, num_accepted: int, keep: float = 1.0) -> None:
        """Add a round; all counts before it are multiplied by `keep`, 0..1."""

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        """The probability of this outcome of the next round, > 0."""


class GeometricEvidence:
    """One acceptance rate for all positions: accepted / verified is its maximum-likelihood estimate under censoring.

    The mean of per-round ratios is not: short rounds weigh too much in it. The prior is Beta with `prior_tokens`.
    """

    __slots__ = ("_num_accepted", "_num_verified")

    def __init__(self, prior_rate: float = INITIAL_ACCEPTANCE_RATE, prior_tokens: float = PRIOR_TOKENS) -> None:
        self._num_accepted = prior_rate * prior_tokens
        self._num_verified = prior_tokens

    @property
    def acceptance_rate(self) -> float:
        return within_bounds(self._num_accepted / self._num_verified)

    def survival(self, num_positions: int) -> Sequence[float]:
        del num_positions
        return ()

    def observe(self, num_granted: int, num_accepted: int, keep: float = 1.0) -> None:
        self._num_accepted = keep * self._num_accepted + num_accepted
        self._num_verified = keep * self._num_verified + num_accepted + (num_accepted < num_granted)

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        rate = self.acceptance_rate
        passed = rate**num_accepted
        return passed * (1.0 - rate) if num_accepted < num_granted else passed


class SurvivalEvidence:
    """One acceptance rate for each position, given those before it: Kaplan and Meier's product-limit estimate.

    At position j the rate is (accepted_j + n a) / (verified_j + n) with the client's pooled rate a and
    n = SHRINKAGE_TOKENS: positions never reached continue geometrically. The survival curve is the running product of
    these rates, so it never rises.
    """

    __slots__ = ("_accepted", "_num_accepted", "_num_verified", "_survival", "_verified", "acceptance_rate")

    def __init__(self, prior_rate: float = INITIAL_ACCEPTANCE_RATE, prior_tokens: float = PRIOR_TOKENS) -> None:
        self._num_accepted = prior_rate * prior_tokens  # at all positions
        self._num_verified = prior_tokens
        self.acceptance_rate = within_bounds(prior_rate)
        self._accepted: list[float] = []  # by position, as far as any was verified
        self._verified: list[float] = []
        self._survival: list[float] = []

    def survival(self, num_positions: int) -> Sequence[float]:
        num_beyond = num_positions - len(self._survival)
        if num_beyond <= 0:
            return self._survival[:num_positions]
        last, rate = self._survival[-1] if self._survival else 1.0, self.acceptance_rate
        return self._survival + [last * rate**j for j in range(1, num_beyond + 1)]

    def observe(self, num_granted: int, num_accepted: int, keep: float = 1.0) -> None:
        num_verified = num_accepted + (num_accepted < num_granted)
        self._num_accepted = keep * self._num_accepted + num_accepted
        self._num_verified = keep * self._num_verified + num_verified
        self.acceptance_rate = within_bounds(self._num_accepted / self._num_verified)
        verified, accepted = self._verified, self._accepted
        survival: list[float] = []
        for _ in range(len(verified), num_verified):
            verified.append(0.0)
            accepted.append(0.0)
        prior = SHRINKAGE_TOKENS * self.acceptance_rate
        chance = 1.0
        for j, count in enumerate(accepted):  # one loop: a verifier runs it several times for each verdict
            num_right, num_known = keep * count, keep * verified[j]
            if j < num_verified:
                num_known += 1.0
                if j < num_accepted:
                    num_right += 1.0
            accepted[j], verified[j] = num_right, num_known
            chance = chance * (num_right + prior) / (num_known + SHRINKAGE_TOKENS)
            survival.append(chance)
        self._survival = survival

    def likelihood(self, num_granted: int, num_accepted: int) -> float:
        passed = self._chance(num_accepted)
        return passed - self._chance(num_accepted + 1) if num_accepted < num_granted else passed

    def _chance(self, num_tokens: int) -> float:
        """Pr(the first `num_tokens` are accepted)."""
        num_seen = len(self._survival)
        if 0 < num_tokens <= num_seen:
            return self._survival[num_tokens - 1]
        last = self._survival[-1] if num_tokens and num_seen else 1.0
        return float(last * self.acceptance_rate ** max(0, num_tokens - num_seen))
