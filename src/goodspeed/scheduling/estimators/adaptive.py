"""Estimators that find their own pace: evidence since the last change of load, and the goodput that it predicts."""

from collections.abc import Callable, Sequence

from goodspeed.scheduling.estimators.change import RunLengths
from goodspeed.scheduling.estimators.evidence import Evidence, GeometricEvidence, SurvivalEvidence
from goodspeed.scheduling.estimators.prior import INITIAL_GOODPUT

GOODPUT_STEP = 0.2
"""Weight of the newest round in X; anything from 0.1 to 0.5 gives the same utility (docs/estimators.md)."""


class AdaptiveEstimator:
    """The mean over all run lengths of what each one's evidence says (Bayesian model averaging).

    X smooths the *expected* goodput of a round, mu at its proposal's length, not the realised one. A realised round is
    mostly luck, which eq. 4 can only average away by a small step, and a small step is slow after a change. Expected
    goodput has no luck in it; what is left to average is that grants are integers, and a few rounds do that.
    """

    def __init__(self, fresh: Callable[[], Evidence]) -> None:
        self._run_lengths = RunLengths(fresh)
        self._goodput = INITIAL_GOODPUT
        self._num_positions = 0  # of the longest proposal
        self._acceptance_rate = 0.0
        self._survival: Sequence[float] = ()
        self._refresh()

    @property
    def acceptance_rate(self) -> float:
        return self._acceptance_rate

    @property
    def goodput(self) -> float:
        return self._goodput

    @property
    def survival(self) -> Sequence[float]:
        return self._survival

    def on_stream(self) -> None:
        """One curve for all prompts."""

    def on_verdict(self, num_proposed: int, num_accepted: int) -> None:
        if num_proposed:
            self._run_lengths.observe(num_proposed, num_accepted)
            self._num_positions = max(self._num_positions, num_proposed)
            self._refresh()
        self._goodput += GOODPUT_STEP * (self._expected_tokens(num_proposed) - self._goodput)

    def _refresh(self) -> None:
        self._acceptance_rate = sum(one.probability * one.evidence.acceptance_rate for one in self._run_lengths)
        curves = [(one.probability, one.evidence.survival(self._num_positions)) for one in self._run_lengths]
        self._survival = [sum(terms) for terms in zip(*([p * s for s in curve] for p, curve in curves), strict=True)]

    def _expected_tokens(self, num_proposed: int) -> float:
        """mu: what a round with so many draft tokens commits in the mean."""
        curve = self._survival[:num_proposed]
        last = curve[-1] if curve else 1.0
        rate = self._acceptance_rate
        num_beyond = num_proposed - len(curve)
        return 1.0 + sum(curve) + last * rate * (1.0 - rate**num_beyond) / (1.0 - rate)


def adaptive_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Geometric acceptance; needs no step sizes."""
    del beta, eta
    return AdaptiveEstimator(GeometricEvidence)


def adaptive_survival_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Acceptance by position; needs no step sizes."""
    del beta, eta
    return AdaptiveEstimator(SurvivalEvidence)
