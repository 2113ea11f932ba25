"""Token weights for distillation: the gain of the scheduler's utility per unit of acceptance probability.

V = max over grants of sum_i w_i U(X_i), where X_i is client i's goodput per round. By the envelope theorem the optimal
grants are constant to first order, so dV/da = w_i U'(X_i) dX_i/da for an acceptance probability a at client i. A text
of N tokens that takes R rounds has X = N / R, so dX/da = (N / R^2) (-dR/da), and -dR/da is exact (evaluate.renewal).
Summed over the positions of a draft that a token may have, this is w U'(X) times the survival up to the token times
1 + the continuation after it (docs/explain/utility_weights.md).
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
MIN_ACCEPTANCE = 1e-6  # so that a client whose drafts were never accepted has a marginal


@dataclass(frozen=True, slots=True)
class ClientAcceptance:
    """One client's traffic: for every answer, the acceptance probability of the draft token at each position."""

    name: str
    weight: float
    answers: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class AllocationProblem:
    """The allocation of a token budget among clients under alpha-fair utility."""

    budget: int
    fairness: float = 1.0
    max_grant: int = MAX_GRANT

    def optimum(self, clients: Sequence[ClientAcceptance]) -> Optimum:
        """The optimal long-run goodputs and grants for these clients' survival curves."""
        views = [self._view(client) for client in clients]
        return long_run_optimum(views, self.budget, self.fairness)

    def _view(self, client: ClientAcceptance) -> ClientView:
        survival = self.survival(client)
        return ClientView(survival[0], 1.0, client.weight, max_grant=self.max_grant, survival=survival)

    def survival(self, client: ClientAcceptance) -> tuple[float, ...]:
        """[max_grant]: Pr(the first j draft tokens are accepted), over all rounds of the client's answers."""
        rounds = [expected_rounds(acceptance_probs, self.max_grant) for acceptance_probs in client.answers]
        reached, accepted = _total(rounds)
        rates = np.divide(accepted, reached, out=np.zeros_like(reached), where=reached > 0.0)
        return tuple(accumulate(np.clip(rates, MIN_ACCEPTANCE, 1.0).tolist(), mul))


def token_weights(clients: Sequence[ClientAcceptance], problem: AllocationProblem) -> list[list[Floats]]:
    """For each client, answer and position, the derivative of the utility in its acceptance probability; mean 1.

    An answer has as many weights as acceptance probabilities.
    """
    optimum = problem.optimum(clients)
    slopes = [
        client.weight * float(x) ** -problem.fairness for client, x in zip(clients, optimum.goodputs, strict=True)
    ]
    gains = [
        [slope * gain for gain in _goodput_gains(client, float(grant))]
        for client, slope, grant in zip(clients, slopes, optimum.grants, strict=True)
    ]
    mean = np.mean(np.concatenate([gain for each in gains for gain in each]))
    return [[gain / mean for gain in each] for each in gains]


def _goodput_gains(client: ClientAcceptance, grant: float) -> list[Floats]:
    """dX/da at every position of every answer."""
    num_rounds = sum(float(round_start_probs(acceptance_probs, grant).sum()) for acceptance_probs in client.answers)
    num_tokens = sum(map(len, client.answers))
    return [num_tokens / num_rounds**2 * rounds_saved(acceptance_probs, grant) for acceptance_probs in client.answers]


def _total(rounds: Sequence[ExpectedRounds]) -> tuple[Floats, Floats]:
    return np.sum([expected.reached for expected in rounds], axis=0), np.sum(
        [expected.accepted for expected in rounds], axis=0
    )
