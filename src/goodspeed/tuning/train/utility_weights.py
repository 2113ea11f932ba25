"""What the scheduler's utility gains where a draft is accepted more often: weights for distillation.

V = max over grants of sum_i w_i U(X_i), X_i client i's goodput per round. By the envelope theorem the grants, being
optimal, stand still to first order; so dV/da = w_i U'(X_i) dX_i/da for a chance of acceptance a at client i. Along a
text of N tokens that takes R rounds X = N / R, so dX/da = (N / R^2) (-dR/da), and -dR/da is exact (renewal). In its
sum over the places of a draft at which a token may stand this is w U'(X) times the survival up to it times 1 + the
continuation after it (docs/utility_tuning.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import mul

import numpy as np
import numpy.typing as npt

from goodspeed.scheduling.optimum import Optimum, long_run_optimum
from goodspeed.scheduling.scheduler import ClientView
from goodspeed.tuning.evaluate.renewal import ExpectedRounds, expected_rounds, round_start_probs, rounds_saved

Floats = npt.NDArray[np.float64]
MAX_GRANT = 8
MIN_SURVIVAL = 1e-6  # a client whose drafts were never accepted still has a marginal


@dataclass(frozen=True, slots=True)
class ClientAcceptance:
    """What one client asks: for every answer, the chance that the draft's token is accepted at each token."""

    name: str
    weight: float
    answers: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class AllocationProblem:
    """How a budget is shared among clients whose fairness is alpha-fair utility."""

    budget: int
    fairness: float = 1.0
    max_grant: int = MAX_GRANT

    def optimum(self, clients: Sequence[ClientAcceptance]) -> Optimum:
        """The best long-run goodputs and grants for these clients' survival curves."""
        views = [self._view(one) for one in clients]
        return long_run_optimum(views, self.budget, self.fairness)

    def _view(self, client: ClientAcceptance) -> ClientView:
        survival = self.survival(client)
        return ClientView(survival[0], 1.0, client.weight, max_grant=self.max_grant, survival=survival)

    def survival(self, client: ClientAcceptance) -> tuple[float, ...]:
        """[max_grant]: Pr(the first j are accepted), over all rounds of the client's answers."""
        rounds = [expected_rounds(chances, self.max_grant) for chances in client.answers]
        judged, accepted = _total(rounds)
        rates = np.divide(accepted, judged, out=np.zeros_like(judged), where=judged > 0.0)
        return tuple(accumulate(np.clip(rates, MIN_SURVIVAL, 1.0).tolist(), mul))


def token_weights(clients: Sequence[ClientAcceptance], share: AllocationProblem) -> list[list[Floats]]:
    """For each client, answer and token, what one more chance of acceptance there adds to the utility; mean 1.

    An answer's weights are as long as its chances.
    """
    best = share.optimum(clients)
    slopes = [one.weight * float(x) ** -share.fairness for one, x in zip(clients, best.goodputs, strict=True)]
    gains = [
        [slope * gain for gain in _goodput_gains(one, float(grant))]
        for one, slope, grant in zip(clients, slopes, best.grants, strict=True)
    ]
    mean = np.mean(np.concatenate([gain for each in gains for gain in each]))
    return [[gain / mean for gain in each] for each in gains]


def _goodput_gains(client: ClientAcceptance, grant: float) -> list[Floats]:
    """dX/da at every token of every answer."""
    num_rounds = sum(float(round_start_probs(chances, grant).sum()) for chances in client.answers)
    num_tokens = sum(len(chances) for chances in client.answers)
    return [num_tokens / num_rounds**2 * rounds_saved(chances, grant) for chances in client.answers]


def _total(rounds: Sequence[ExpectedRounds]) -> tuple[Floats, Floats]:
    return np.sum([one.judged for one in rounds], axis=0), np.sum([one.accepted for one in rounds], axis=0)
