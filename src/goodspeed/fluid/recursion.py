"""The stochastic recursion (3)-(5): many independent runs of the same clients side by side."""

from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.decisions import gradient_grants, log_slopes
from goodspeed.fluid.problem import Floats, Ints
from goodspeed.fluid.update import Update, towards

LOWEST, HIGHEST = 0.01, 0.99  # of an estimated acceptance rate


@dataclass(slots=True)
class Recursion:
    """Goodputs X of all runs. A round: decide by eq. 5, draw the goodputs, update by eq. 4."""

    goodputs: Floats  # [runs, clients], X
    budget: int
    beta: float
    update: Update = towards

    def decide(self, believed: Floats) -> Ints:
        """Grants, [runs, clients], by the believed acceptance rates, [clients] or [runs, clients]."""
        return gradient_grants(log_slopes(self.goodputs), believed, self.budget)

    def advance(self, newest: Floats) -> None:
        """Eq. 4 with the round's goodputs x, [runs, clients]."""
        self.goodputs = self.update(self.goodputs, newest, self.beta)


def geometric_goodputs(rates: Floats, grants: Ints, rng: np.random.Generator) -> Floats:
    """x = accepted + 1 where each draft token is accepted with the client's rate, [runs, clients]."""
    accepted = np.log(1.0 - rng.random(grants.shape)) // np.log(rates)
    goodputs: Floats = 1.0 + np.minimum(grants, accepted)
    return goodputs


@dataclass(slots=True)
class RatioEstimate:
    """Eq. 3, with the target-to-draft ratios min(1, p/q) of the drafted tokens i.i.d. Beta(2a, 2(1 - a)), mean a."""

    rates: Floats  # [clients], the truth
    eta: float
    estimate: Floats  # [runs, clients]

    def verify(self, grants: Ints, rng: np.random.Generator) -> Floats:
        """Draw the round's goodputs x, [runs, clients], and learn from all ratios; a grant of 0 says nothing."""
        longest = int(grants.max())
        rates = self.rates[None, :, None]
        ratios = rng.beta(2.0 * rates, 2.0 * (1.0 - rates), (*grants.shape, longest))
        is_drafted = np.arange(longest) < grants[..., None]
        is_kept = np.logical_and.accumulate((rng.random(ratios.shape) < ratios) & is_drafted, axis=-1)
        mean = (ratios * is_drafted).sum(axis=-1) / np.maximum(grants, 1)
        self.estimate = np.where(grants > 0, (1.0 - self.eta) * self.estimate + self.eta * mean, self.estimate)
        goodputs: Floats = 1.0 + is_kept.sum(axis=-1)
        return goodputs

    @property
    def believed(self) -> Floats:
        """[runs, clients]"""
        return np.clip(self.estimate, LOWEST, HIGHEST)
