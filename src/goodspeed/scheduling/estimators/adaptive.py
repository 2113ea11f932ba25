"""Estimators without a step size: evidence since the last change of load, and the goodput that it predicts."""

from collections.abc import Callable, Sequence

from goodspeed.scheduling.estimators.change import RunLengths
from goodspeed.scheduling.estimators.evidence import Evidence, GeometricEvidence, SurvivalEvidence
from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, INITIAL_GOODPUT, PRIOR_TOKENS

GOODPUT_STEP = 0.2
"""Weight of the latest round in X; 0.1 to 0.5 give the same utility (docs/measurements/estimators.md)."""

HISTORY_KEEP = 0.998
"""Decay per round of the client's long-run rate: about its last 500 rounds count."""
NEW_PROMPT_PROBABILITY = 0.5
"""That the acceptance of a prompt differs from that of the prompt before."""
NEW_PROMPT_TOKENS = 8.0
"""How many verified tokens of a new prompt weigh as much as the client's long-run rate."""

MakeEvidence = Callable[[float, float], Evidence]
"""Makes evidence of no rounds from the prior acceptance rate and the number of verified tokens that it weighs."""


class AdaptiveEstimator:
    """Averages over all run lengths the estimates from each one's evidence (Bayesian model averaging).

    X smooths the expected goodput of a round, mu at its grant, not the realised one. A realised round is mostly noise;
    eq. 4 needs a small step to average it away, and a small step is slow after a change. Expected goodput is without
    that noise. What remains to be averaged are integer grants, for which a few rounds suffice.

    A new prompt is a likely change, to a rate near the client's long-run rate.
    """

    def __init__(self, make_evidence: MakeEvidence) -> None:
        self._make_evidence = make_evidence
        self._run_lengths = RunLengths(lambda: make_evidence(INITIAL_ACCEPTANCE_RATE, PRIOR_TOKENS))
        self._history = GeometricEvidence()
        self._num_positions = 0  # the longest grant so far
        self.acceptance_rate = INITIAL_ACCEPTANCE_RATE
        self.goodput = INITIAL_GOODPUT
        self.survival: Sequence[float] = ()

    def on_stream(self) -> None:
        prior = self._make_evidence(self._history.acceptance_rate, NEW_PROMPT_TOKENS)
        self._run_lengths.expect_change(NEW_PROMPT_PROBABILITY, prior)
        self._refresh()

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        if num_granted:
            self._run_lengths.observe(num_granted, num_accepted)
            self._history.observe(num_granted, num_accepted, keep=HISTORY_KEEP)
            self._num_positions = max(self._num_positions, num_granted)
            self._refresh()
        self.goodput += GOODPUT_STEP * (self._expected_tokens(num_granted) - self.goodput)

    def _refresh(self) -> None:
        weighted = [(hypothesis.probability, hypothesis.evidence) for hypothesis in self._run_lengths]
        self.acceptance_rate = sum([p * evidence.acceptance_rate for p, evidence in weighted])
        curves = [[p * s for s in evidence.survival(self._num_positions)] for p, evidence in weighted]
        self.survival = list(map(sum, zip(*curves, strict=True)))

    def _expected_tokens(self, num_granted: int) -> float:
        """mu: the mean number of tokens that a round with this grant commits."""
        curve = self.survival[:num_granted]
        last = curve[-1] if curve else 1.0
        rate = self.acceptance_rate
        num_beyond = num_granted - len(curve)
        return 1.0 + sum(curve) + last * rate * (1.0 - rate**num_beyond) / (1.0 - rate)


def adaptive_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Geometric acceptance; ignores both step sizes."""
    del beta, eta
    return AdaptiveEstimator(GeometricEvidence)


def adaptive_survival_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Acceptance by position; ignores both step sizes."""
    del beta, eta
    return AdaptiveEstimator(SurvivalEvidence)
