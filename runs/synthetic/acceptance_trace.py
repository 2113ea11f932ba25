"""Pre-drawn acceptance of every round, the same for every policy that is compared."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

ACCEPTANCE_RATES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.85, 0.4, 0.75)
BUDGET = 20


@dataclass(frozen=True, slots=True)
class SyntheticTrace:
    """The acceptance of all rounds and clients."""

    survival: Floats  # [rounds, clients, BUDGET], true Pr(the first j tokens are accepted)
    run_lengths: NDArray[np.int64]  # [rounds, clients], accepted tokens of an endless proposal
    ratio_sums: Floats  # [rounds, clients, BUDGET + 1], sum of min(1, p/q) over the first j drafted positions

    def __len__(self) -> int:
        return len(self.run_lengths)

    def expected_tokens(self, grants: NDArray[np.int64]) -> Floats:
        """[rounds, clients]: mu of the true acceptance for these grants."""
        mu = np.concatenate((np.ones((*grants.shape, 1)), 1.0 + np.cumsum(self.survival, axis=2)), axis=2)
        return np.take_along_axis(mu, grants[:, :, None], axis=2)[:, :, 0]


def ratio_trace(rates: Floats, seed: int) -> SyntheticTrace:
    """Geometric acceptance at rates [rounds, clients]: ratios min(1, p/q) i.i.d. Beta(2a, 2(1-a)), mean a."""
    rng = np.random.default_rng(seed)
    each = np.repeat(rates[:, :, None], BUDGET, axis=2)
    ratios: Floats = rng.beta(2.0 * each, 2.0 * (1.0 - each))
    is_rejected = rng.random(each.shape) >= ratios
    run_lengths = np.where(is_rejected.any(axis=2), is_rejected.argmax(axis=2), BUDGET)
    survival: Floats = np.cumprod(each, axis=2, dtype=np.float64)
    sums: Floats = np.concatenate((np.zeros((*rates.shape, 1)), np.cumsum(ratios, axis=2)), axis=2)
    return SyntheticTrace(survival, run_lengths, sums)


def curve_trace(
    survival: Floats,  # [rounds, clients, BUDGET]
    seed: int,
) -> SyntheticTrace:
    """Acceptance by these survival curves, without ratios."""
    draws = np.random.default_rng(seed).random(survival.shape[:2])
    run_lengths = np.sum(draws[:, :, None] < survival, axis=2)
    return SyntheticTrace(survival, run_lengths, np.zeros((*survival.shape[:2], BUDGET + 1)))
