"""The paper's estimator: two exponential averages (GoodSpeed, arXiv 2512.09963, eq. 3 and 4)."""

from collections.abc import Sequence

from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE, INITIAL_GOODPUT, within_bounds


class PaperEstimator:
    """Eq. 3 and 4 with accepted / proposed as the round's evidence, as if tokens after a rejection were rejected too.

    Eq. 3 averages min(1, p/q) over all drafted positions, but a verdict does not contain these ratios. So the estimate
    is low: a round of S tokens of acceptance a has the mean (a + a^2 + ... + a^S) / S. The paper leaves open what a
    round without draft tokens does, where eq. 3 divides by zero. Here it is no evidence, and the acceptance rate stays.
    """

    survival: Sequence[float] = ()

    def __init__(self, beta: float, eta: float) -> None:
        self._beta = beta
        self._eta = eta
        self._acceptance_rate = INITIAL_ACCEPTANCE_RATE
        self.goodput = INITIAL_GOODPUT

    @property
    def acceptance_rate(self) -> float:
        return within_bounds(self._acceptance_rate)

    def on_stream(self) -> None:
        """One acceptance rate for all prompts."""

    def on_verdict(self, num_granted: int, num_accepted: int) -> None:
        self.goodput += self._beta * (num_accepted + 1 - self.goodput)
        if num_granted:
            self._acceptance_rate += self._eta * (num_accepted / num_granted - self._acceptance_rate)
