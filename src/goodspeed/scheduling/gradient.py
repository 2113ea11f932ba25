"""GoodSpeed's gradient scheduler: the first-order gain in utility of every round, fair in the long run."""

import heapq
from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.base import Budget, ClientView


class GradientScheduler:
    """S = argmax sum_i w_i U'(X_i) mu(a_i, S_i) with sum S_i <= budget (GoodSpeed, arXiv 2512.09963, eq. 5).

    mu(a, S) = (1 - a^(S+1)) / (1 - a) is the expected number of tokens that a round with S draft tokens commits, and
    U is alpha-fair: U'(x) = x^-fairness. 1 is the paper's log utility (proportional fairness); 0 is plain throughput.

    The objective is separable and concave: the client's (S+1)-th token adds w U'(X) a^(S+1), which falls with S. So
    giving the tokens away one by one, each where it adds most, is exact. Ties go to the smaller grant, then to the
    earlier client.
    """

    def __init__(self, fairness: float = 1.0) -> None:
        self._fairness = fairness

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        grants = [0] * len(clients)
        gains = [
            (-client.weight * client.goodput**-self._fairness * client.acceptance_rate, 0, i)
            for i, client in enumerate(clients)
            if client.max_grant > 0 and client.acceptance_rate > 0.0
        ]
        heapq.heapify(gains)
        num_left = budget.tokens
        while num_left > 0 and gains:
            gain, grant, i = gains[0]
            num_left -= 1
            grants[i] = grant + 1
            if grants[i] < clients[i].max_grant:
                heapq.heapreplace(gains, (gain * clients[i].acceptance_rate, grant + 1, i))
            else:
                heapq.heappop(gains)
        return grants
