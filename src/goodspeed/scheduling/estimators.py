"""What a client's verdicts say about it: its acceptance rate a and its smoothed goodput X, per round.

The paper's eq. 3 averages min(1, p/q) over all drafted positions. A live verifier does not see these ratios (a greedy
or coupled round has none; a rejection round judges nothing after the first rejection): it sees how many draft tokens
were kept. That evidence is censored: after a rejection the rest is unknown, not rejected. Both readings are here.

A round without draft tokens says nothing about acceptance (eq. 3 divides by zero): the estimate stays. It still
commits one token, so X falls towards 1, which raises the client's marginal gain.
"""

from collections.abc import Sequence

INITIAL_ACCEPTANCE_RATE = 0.5
INITIAL_GOODPUT = 1.0  # what a round without draft tokens commits
PRIOR_TRIALS = 2.0  # how many judged tokens the initial acceptance rate is worth
# The estimate's bounds: mu(a, S) needs a < 1, and a client at 0 would never be granted a token to prove otherwise.
LOWEST, HIGHEST = 0.01, 0.99


class PaperEstimator:
    """Eq. 3 and 4 with accepted / proposed as the round's evidence, as if what follows a rejection were rejected too.

    Reads low: a round of S tokens of acceptance a has the mean (a + a^2 + ... + a^S) / S.
    """

    def __init__(self, beta: float, eta: float) -> None:
        self._beta = beta
        self._eta = eta
        self._acceptance_rate = INITIAL_ACCEPTANCE_RATE
        self._goodput = INITIAL_GOODPUT

    @property
    def acceptance_rate(self) -> float:
        return min(HIGHEST, max(LOWEST, self._acceptance_rate))

    @property
    def goodput(self) -> float:
        return self._goodput

    survival: Sequence[float] = ()

    def on_stream(self) -> None:
        """One acceptance rate for all prompts."""

    def on_verdict(self, num_proposed: int, num_accepted: int) -> None:
        self._goodput += self._beta * (num_accepted + 1 - self._goodput)
        if num_proposed:
            self._acceptance_rate += self._eta * (num_accepted / num_proposed - self._acceptance_rate)


class CensoredEstimator:
    """Accepted / judged tokens, where a round judges its accepted tokens and at most one rejected one.

    Both counts decay by eta per round that proposed; their ratio is the maximum-likelihood estimate of geometric
    acceptance under censoring (the mean of per-round ratios would not be: it weighs short rounds too much).
    The goodput is the paper's eq. 4.
    """

    def __init__(self, beta: float, eta: float) -> None:
        self._beta = beta
        self._eta = eta
        self._num_accepted = INITIAL_ACCEPTANCE_RATE * PRIOR_TRIALS
        self._num_judged = PRIOR_TRIALS
        self._goodput = INITIAL_GOODPUT

    @property
    def acceptance_rate(self) -> float:
        return min(HIGHEST, max(LOWEST, self._num_accepted / self._num_judged))

    @property
    def goodput(self) -> float:
        return self._goodput

    survival: Sequence[float] = ()

    def on_stream(self) -> None:
        """One acceptance rate for all prompts."""

    def on_verdict(self, num_proposed: int, num_accepted: int) -> None:
        self._goodput += self._beta * (num_accepted + 1 - self._goodput)
        if num_proposed:
            keep = 1.0 - self._eta
            self._num_accepted = keep * self._num_accepted + num_accepted
            self._num_judged = keep * self._num_judged + num_accepted + (num_accepted < num_proposed)
