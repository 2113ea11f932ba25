"""Estimators that find their own pace: evidence since the last change of load, and the goodput that it predicts."""

from collections.abc import Callable, Sequence

from goodspeed.scheduling.estimators.change import RunLengths
from goodspeed.scheduling.estimators.evidence import Evidence, GeometricEvidence, SurvivalEvidence
from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, INITIAL_GOODPUT, PRIOR_TOKENS

GOODPUT_STEP = 0.2
"""Weight of the newest round in X; anything from 0.1 to 0.5 gives the same utility (docs/estimators.md)."""

HISTORY_KEEP = 0.998  # per round: the client's long-run rate is that of its last 500 rounds or so
NEW_PROMPT_PROBABILITY = 0.5
"""That a prompt's acceptance is another than the last one's."""
NEW_PROMPT_TOKENS = 8.0
"""How many judged tokens of a new prompt outweigh the client's long-run rate."""

MakeEvidence = Callable[[float, float], Evidence]
"""Of no rounds: from the prior acceptance rate and how many judged tokens that is worth."""


class AdaptiveEstimator:
    """The mean over all run lengths of what each one's evidence says (Bayesian model averaging).

    X smooths the *expected* goodput of a round, mu at its grant, not the realised one. A realised round is
    mostly luck, which eq. 4 can only average away by a small step, and a small step is slow after a change. Expected
    goodput has no luck in it; what is left to average is that grants are integers, and a few rounds do that.

    A new prompt is a likely change, to something near the client's long-run rate.
    """

    def __init__(self, make_evidence: MakeEvidence) -> None:
        self._make_evidence = make_evidence
        self._run_lengths = RunLengths(lambda: make_evidence(INITIAL_ACCEPTANCE_RATE, PRIOR_TOKENS))
        self._history = GeometricEvidence()
        self._num_positions = 0  # of the longest grant
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
        beliefs = [(one.probability, one.evidence) for one in self._run_lengths]
        self.acceptance_rate = sum([p * evidence.acceptance_rate for p, evidence in beliefs])
        curves = [[p * s for s in evidence.survival(self._num_positions)] for p, evidence in beliefs]
        self.survival = list(map(sum, zip(*curves, strict=True)))

    def _expected_tokens(self, num_granted: int) -> float:
        """mu: what a round with so many draft tokens commits in the mean."""
        curve = self.survival[:num_granted]
        last = curve[-1] if curve else 1.0
        rate = self.acceptance_rate
        num_beyond = num_granted - len(curve)
        return 1.0 + sum(curve) + last * rate * (1.0 - rate**num_beyond) / (1.0 - rate)


def adaptive_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Geometric acceptance; needs no step sizes."""
    del beta, eta
    return AdaptiveEstimator(GeometricEvidence)


def adaptive_survival_estimator(beta: float, eta: float) -> AdaptiveEstimator:
    """Acceptance by position; needs no step sizes."""
    del beta, eta
    return AdaptiveEstimator(SurvivalEvidence)
