"""One price for draft tokens: every client's grant on its own, for batches that wait for no client."""

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence

import numpy as np

from goodspeed.scheduling.gradient import greedy_grants
from goodspeed.scheduling.marginals import NOTHING, floors_within, log_survival, log_weight
from goodspeed.scheduling.scheduler import Budget, ClientView

TARGET_DEMAND = 1.1
"""Mean demand of a call that the price aims at, in budgets: an excess is cut where it has the least value, and what is
missing is lost. Of 20 tokens for eight clients behind a barrier 98% are spent with 1.0, 99.96% with 1.1
(docs/measurements/log.md)."""
PRICE_GAIN = 0.2
"""How far the log price moves when a call demands a budget more or less than the target."""


class PriceScheduler:
    """Each client gets its tokens whose value is at least the price, w U'(X) s_j >= price: O(1) per client.

    The price is the budget's multiplier in the gradient scheduler's problem (GoodSpeed, arXiv 2512.09963, eq. 5). It
    rises when a call demands more than the budget and falls when one demands less, so that calls fill the budget in
    the mean: they may be for the clients of one batch, which differ from those of the next. Demand beyond the budget is
    cut where it has the least value, so a call that fills the budget has the gradient scheduler's answer.
    """

    def __init__(self, fairness: float = 1.0) -> None:
        self._fairness = fairness
        self._log_price = math.inf  # no call yet

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        weights = [log_weight(client, self._fairness) for client in clients]
        floors = floors_within(clients, budget.tokens)
        if self._log_price == math.inf:
            first = greedy_grants(clients, budget.tokens, self._fairness)
            self._log_price = min(_last_values(clients, weights, floors, first), default=math.inf)
        demands = [
            max(floor, min(client.max_grant, num_surviving(client, self._log_price - weight)))
            for client, weight, floor in zip(clients, weights, floors, strict=True)
        ]
        if budget.tokens > 0:
            self._adjust_price(sum(demands) / budget.tokens, map(_is_elastic, clients, demands))
        return _cut(clients, weights, floors, demands, budget.tokens)

    def _adjust_price(self, demand: float, is_elastic: Iterable[bool]) -> None:
        """Move the price after a call with this demand, in budgets; it only falls while that would raise a demand."""
        if demand > TARGET_DEMAND or any(is_elastic):
            self._log_price += PRICE_GAIN * min(1.0, demand - TARGET_DEMAND)


def num_surviving(client: ClientView, log_chance: float) -> int:
    """How many draft tokens of a client survive with at least this chance, its cap aside; O(log of its curve)."""
    curve = client.survival
    if log_chance > 0.0:
        return 0
    if curve and (curve[-1] <= 0.0 or math.log(curve[-1]) < log_chance):
        return bisect_right(curve, -math.exp(log_chance), key=lambda chance: -chance)
    if client.acceptance_rate <= 0.0:
        return len(curve)
    known = math.log(curve[-1]) if curve else 0.0
    return len(curve) + math.floor((log_chance - known) / math.log(client.acceptance_rate))


def _last_values(
    clients: Sequence[ClientView], weights: Sequence[float], floors: Sequence[int], grants: Sequence[int]
) -> list[float]:
    """The log value of the last token of every grant above its floor."""
    return [
        weight + log_survival(client, grant)
        for client, weight, floor, grant in zip(clients, weights, floors, grants, strict=True)
        if grant > floor
    ]


def _is_elastic(client: ClientView, demand: int) -> bool:
    """True if the client would demand another token at a lower price."""
    return demand < client.max_grant and client.weight > 0.0 and log_survival(client, demand + 1) > NOTHING


def _cut(
    clients: Sequence[ClientView],
    weights: Sequence[float],
    floors: Sequence[int],  # together at most num_tokens
    demands: Sequence[int],
    num_tokens: int,
) -> list[int]:
    """The demands without the tokens beyond `num_tokens`: those of the least value are cut.

    Of equal values the token of the larger grant is cut, then that of the later client.
    """
    grants = list(demands)
    excess = sum(demands) - num_tokens
    if excess <= 0:
        return grants
    heap = [
        (weights[i] + log_survival(client, grants[i]), -grants[i], -i)
        for i, client in enumerate(clients)
        if grants[i] > floors[i]
    ]
    heapq.heapify(heap)
    for _ in range(excess):
        i = -heap[0][2]
        grants[i] -= 1
        if grants[i] > floors[i]:
            heapq.heapreplace(heap, (weights[i] + log_survival(clients[i], grants[i]), -grants[i], -i))
        else:
            heapq.heappop(heap)
    return grants
