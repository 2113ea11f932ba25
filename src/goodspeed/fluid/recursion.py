"""The stochastic recursion (3)-(5) for many independent runs of the same clients at once."""

from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.decisions import gradient_grants, log_slopes
from goodspeed.fluid.problem import Floats, Ints
from goodspeed.fluid.update import Update, ewma_update

MIN_RATE, MAX_RATE = 0.01, 0.99  # of an estimated acceptance rate


@dataclass(slots=True)
class Recursion:
    """Goodputs X of all runs. In each round: decide (eq. 5), draw the goodputs, advance (eq. 4)."""

    goodputs: Floats  # [runs, clients], X
    budget: int
    beta: float
    update: Update = ewma_update

    def decide(self, estimated_rates: Floats) -> Ints:
        """Grants, [runs, clients], for estimated acceptance rates, [clients] or [runs, clients]."""
        return gradient_grants(log_slopes(self.goodputs), estimated_rates, self.budget)

    def advance(self, latest: Floats) -> None:
        """Apply eq. 4 with the round's goodputs x, [runs, clients]."""
        self.goodputs = self.update(self.goodputs, latest, self.beta)


def geometric_goodputs(rates: Floats, grants: Ints, rng: np.random.Generator) -> Floats:
    """x = accepted + 1 where each draft token is accepted with the client's rate, [runs, clients]."""
    accepted = np.log(1.0 - rng.random(grants.shape)) // np.log(rates)
    goodputs: Floats = 1.0 + np.minimum(grants, accepted)
    return goodputs


@dataclass(slots=True)
class AcceptanceEstimate:
    """Eq. 3, with the target-to-draft ratios min(1, p/q) of the drafted tokens i.i.d. Beta(2a, 2(1 - a)), mean a."""

    rates: Floats  # [clients], true acceptance rates
    eta: float
    estimate: Floats  # [runs, clients]

    def verify(self, grants: Ints, rng: np.random.Generator) -> Floats:
        """Draw the round's goodputs x, [runs, clients], and update the estimate of every client with a grant."""
        longest = int(grants.max())
        rates = self.rates[None, :, None]
        ratios = rng.beta(2.0 * rates, 2.0 * (1.0 - rates), (*grants.shape, longest))
        is_drafted = np.arange(longest) < grants[..., None]
        is_accepted = np.logical_and.accumulate((rng.random(ratios.shape) < ratios) & is_drafted, axis=-1)
        mean = (ratios * is_drafted).sum(axis=-1) / np.maximum(grants, 1)
        self.estimate = np.where(grants > 0, (1.0 - self.eta) * self.estimate + self.eta * mean, self.estimate)
        goodputs: Floats = 1.0 + is_accepted.sum(axis=-1)
        return goodputs

    @property
    def estimated_rates(self) -> Floats:
        """[runs, clients]"""
        return np.clip(self.estimate, MIN_RATE, MAX_RATE)
