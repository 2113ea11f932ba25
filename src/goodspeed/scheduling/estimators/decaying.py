"""Estimators with fixed step sizes: counts of verified tokens decay by eta, goodput by beta (the paper's eq. 4)."""

from collections.abc import Sequence

from goodspeed.scheduling.estimators.evidence import Evidence, GeometricEvidence, SurvivalEvidence
from goodspeed.scheduling.estimators.prior import INITIAL_GOODPUT


class DecayingEstimator:
    """Counts decay with every round that had draft tokens; other rounds say nothing about acceptance.

    A round without draft tokens still commits one token, so X falls towards 1, which raises the client's marginal gain.
    """

    def __init__(self, evidence: Evidence, beta: float, eta: float) -> None:
        self._evidence = evidence
        self._beta = beta
        self._eta = eta
        self._num_positions = 0
        self.acceptance_rate = evidence.acceptance_rate
        self.goodput = INITIAL_GOODPUT
        self.survival: Sequence[float] = ()

    def on_stream(self) -> None:
        """One curve for all prompts."""

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        self.goodput += self._beta * (num_accepted + 1 - self.goodput)
        if num_granted:
            self._evidence.observe(num_granted, num_accepted, keep=1.0 - self._eta)
            self._num_positions = max(self._num_positions, num_granted)
            self.acceptance_rate = self._evidence.acceptance_rate
            self.survival = self._evidence.survival(self._num_positions)


def censored_estimator(beta: float, eta: float) -> DecayingEstimator:
    """Geometric acceptance: accepted / verified."""
    return DecayingEstimator(GeometricEvidence(), beta, eta)


def survival_estimator(beta: float, eta: float) -> DecayingEstimator:
    """Acceptance by position: Kaplan-Meier with decay."""
    return DecayingEstimator(SurvivalEvidence(), beta, eta)
