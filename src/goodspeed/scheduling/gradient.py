"""GoodSpeed's gradient scheduler: maximises the first-order gain in utility of every round, fair in the long run."""

import heapq
from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.marginals import NOTHING, floors_within, log_survival, log_weight
from goodspeed.scheduling.price_search import demand_of_views, grants_by_price
from goodspeed.scheduling.scheduler import Budget, ClientView

MANY_TOKENS = 256
"""The budget from which the search for a price is faster than the greedy allocation (`runs/scheduler_speed.py`)."""


class GradientScheduler:
    """S = argmax sum_i w_i U'(X_i) mu_i(S_i) with sum S_i <= budget (GoodSpeed, arXiv 2512.09963, eq. 5).

    mu_i(S) = 1 + s_1 + ... + s_S is the expected number of tokens that a round with S draft tokens commits; the paper's
    (1 - a^(S+1)) / (1 - a) where acceptance is geometric. U is alpha-fair: `fairness` 0 is plain throughput, 1 the
    paper's log utility (proportional fairness), 2 the minimum potential delay; large values tend to max-min.
    """

    def __init__(self, fairness: float = 1.0) -> None:
        self._fairness = fairness

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        if clients and budget.tokens >= MANY_TOKENS:
            grants: list[int] = grants_by_price(demand_of_views(clients, self._fairness), budget.tokens).tolist()
            return grants
        return greedy_grants(clients, budget.tokens, self._fairness)


def greedy_grants(clients: Sequence[ClientView], num_tokens: int, fairness: float) -> list[int]:
    """The floors, then the rest of `num_tokens` one by one, each to the client for which it has the highest value.

    This is exact, since the objective is separable and concave. Ties go to the smaller grant, then to the earlier
    client. Tokens without value are not granted.
    """
    grants = floors_within(clients, num_tokens)
    weights = [log_weight(client, fairness) for client in clients]
    heap = []
    for i, client in enumerate(clients):
        if grants[i] < client.max_grant:
            value = weights[i] + log_survival(client, grants[i] + 1)
            if value > NOTHING:
                heap.append((-value, grants[i], i))
    heapq.heapify(heap)
    num_left, heapreplace = num_tokens - sum(grants), heapq.heapreplace
    while num_left > 0 and heap:
        _, grant, i = heap[0]
        grant += 1
        grants[i] = grant
        num_left -= 1
        client = clients[i]
        value = weights[i] + log_survival(client, grant + 1) if grant < client.max_grant else NOTHING
        if value > NOTHING:
            heapreplace(heap, (-value, grant, i))
        else:
            heapq.heappop(heap)
    return grants
