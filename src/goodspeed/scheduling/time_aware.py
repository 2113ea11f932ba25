"""The time-aware scheduler: utility of tokens per second, in which every draft token has a price in time.

The paper's scheduler counts tokens per round, so it always spends the whole budget: a token costs nothing. In time it
costs its own client drafting_s, and every client that waits for that step token_s. The objective is derived in
docs/explain/time_aware.md.
"""

import copy
import heapq
import math
from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import Budget, ClientView

MIN_ROUND_S = 1e-9
"""For a round time whose parts are not known yet."""


class TimeAwareScheduler:
    """Maximises sum_i w_i log(tokens per second of i), to first order in what clients do to each other.

    A client has n_i streams, and each of them commits a token of the target's own besides. With the share u_i of grants
    that is verified, its round takes T_i(S) = network_i + verify_i + (drafting_i + token_s) u_i S. While clients are
    not synchronised, each token of i delays the others that are at the verifier when i's step ends
    (co_batched_weight_i) by token_s once in T_i:

        f_i(S) = w_i log(mu_i(S) / T_i(S)) - token_s (co_batched_weight_i - w_i) (n_i + u_i S) / T_i(S),   S > 0

    With a grant of 0 the client's rounds are local: they wait for no network and no drafter, and verify k co-located
    draft tokens of each stream, of which a share v_i is drafted. With their survival c_j the best k counts:

        mu_i(0) = n_i (1 + c_1 + ... + c_k),   T_i(0) = local_round_s + n_i k v_i (token_s + co_located_token_s)

    At k = 0 this is target-only mode. So no client waits for drafts that would be faster without.

    The sum is separable. Tokens are allocated greedily, each to the client for which it gains most, until no token
    gains or the budget is spent; clients that are better off with local rounds then return their tokens. That is
    exact where every f_i is concave (the first term has one maximum; tests compare with brute force). Utility is that
    of the expected goodput, not the paper's gradient form with 1 / X_i: per second the noise of X_i costs more than
    turns of integer grants bring (docs/measurements/log.md).

    Under the barrier all rounds take T(S) = max(network_i + drafting_i S_i) over clients with a grant, + step_s +
    token_s sum_i S_i, and the objective is sum_i w_i log(mu_i(S_i) / T(S)).
    """

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        floors = floors_within(clients, budget.tokens)
        allocations = [ClientAllocation(client, budget, floor) for client, floor in zip(clients, floors, strict=True)]
        if budget.is_barrier:
            _allocate_under_barrier(allocations, budget, budget.tokens - sum(floors))
        else:
            _allocate_or_go_local(allocations, budget.tokens)
        return [allocation.grant for allocation in allocations]


class ClientAllocation:
    """The grant of one client as it grows token by token, and what the next token would change."""

    __slots__ = (
        "_client",
        "_delayed_s",
        "_floor",
        "_local_objective",
        "_num_committed",
        "_num_verified",
        "_round_s",
        "_survival",
        "_token_cost_s",
        "grant",
    )

    def __init__(self, client: ClientView, budget: Budget, floor: int) -> None:
        self._client = client
        self._floor = floor
        self._token_cost_s = client.grant_utilisation * (client.drafting_s + budget.token_s)
        self._delayed_s = budget.token_s * max(0.0, client.co_batched_weight - client.weight)
        self._local_objective = self._best_local_objective(budget)
        self.reset()

    def reset(self) -> None:
        """Return to the floor."""
        self.grant = 0
        self._round_s = self._client.network_s + self._client.verify_s
        self._num_committed = float(self._client.num_streams)  # per round, expected
        self._num_verified = float(self._client.num_streams)  # tokens in its steps, with the target's own
        self._survival = 1.0
        self._survival = self._next_survival()
        for _ in range(self._floor):
            self.add_token()

    def add_token(self) -> None:
        """Grant the next token."""
        self._num_committed += self._survival
        self._round_s += self._token_cost_s
        self._num_verified += self._client.grant_utilisation
        self.grant += 1
        self._survival = self._next_survival()

    @property
    def weight(self) -> float:
        return self._client.weight

    @property
    def is_at_cap(self) -> bool:
        return self.grant >= self._client.max_grant

    def token_value(self) -> float:
        """What the next token adds to w log mu."""
        return self._client.weight * math.log1p(self._survival / self._num_committed)

    def gain(self) -> float:
        """What the next token adds to f_i; its value alone while the round time is not known."""
        before_s = self._round_s
        after_s = before_s + self._token_cost_s
        if before_s <= 0.0:
            return self.token_value()
        own = self._client.weight * math.log(after_s / before_s)
        num_after = self._num_verified + self._client.grant_utilisation
        others = self._delayed_s * (num_after / after_s - self._num_verified / before_s)
        return self.token_value() - own - others

    def local_gain(self) -> float:
        """What local rounds would add to f_i; 0 for a client with a floor, and while a time is not known."""
        if self._floor or self._round_s <= 0.0 or self._local_objective is None:
            return 0.0
        return self._local_objective - self._objective(self._num_committed, self._num_verified, self._round_s)

    def proposal_after_s(self) -> float:
        """From a verdict to the proposal; 0 for a client without a grant, whose proposal no step waits for."""
        return self._client.network_s + self._client.drafting_s * self.grant if self.grant else 0.0

    def lookahead(self, num_tokens: int) -> list[tuple[float, float]]:
        """(token_value, proposal_after_s) of each of the next tokens; the allocation itself does not change."""
        ahead = copy.copy(self)
        found = []
        for _ in range(min(num_tokens, self._client.max_grant - self.grant)):
            value = ahead.token_value()
            ahead.add_token()
            found.append((value, ahead.proposal_after_s()))
        return found

    def _best_local_objective(self, budget: Budget) -> float | None:
        """f_i of local rounds with the best number of co-located tokens; None while their time is not known."""
        round_s = budget.local_round_s
        if not round_s:
            return None
        client = self._client
        num_committed = num_verified = float(client.num_streams)
        num_drafted = client.num_streams * client.co_located_utilisation
        best = self._objective(num_committed, num_verified, round_s)
        for survival in client.co_located_survival:
            num_committed += client.num_streams * survival
            num_verified += num_drafted
            round_s += num_drafted * (budget.token_s + budget.co_located_token_s)
            best = max(best, self._objective(num_committed, num_verified, round_s))
        return best

    def _objective(self, num_committed: float, num_verified: float, round_s: float) -> float:
        """f_i."""
        return self._client.weight * math.log(num_committed / round_s) - self._delayed_s * num_verified / round_s

    def _next_survival(self) -> float:
        curve = self._client.survival
        return curve[self.grant] if self.grant < len(curve) else self._survival * self._client.acceptance_rate


def _allocate_or_go_local(allocations: Sequence[ClientAllocation], num_tokens: int) -> None:
    """Allocate to the clients that gain by waiting for their drafters.

    First, clients leave whose local rounds would be better even than all tokens. Then, one by one, the client
    leaves that would gain most by it at its present share.
    """
    for allocation in allocations:
        _allocate_greedily([allocation], num_tokens - allocation.grant)
    drafting = [allocation for allocation in allocations if allocation.local_gain() <= 0.0]
    while True:
        for allocation in allocations:
            allocation.reset()
        _allocate_greedily(drafting, num_tokens - sum(allocation.grant for allocation in drafting))
        leaving = max(drafting, key=ClientAllocation.local_gain, default=None)
        if leaving is None or leaving.local_gain() <= 0.0:
            return
        drafting.remove(leaving)


def _allocate_greedily(allocations: Sequence[ClientAllocation], num_left: int) -> None:
    """Without a barrier: grant the token that gains most, as long as any gains."""
    heap = [(-allocation.gain(), i) for i, allocation in enumerate(allocations) if not allocation.is_at_cap]
    heapq.heapify(heap)
    while heap and num_left > 0 and heap[0][0] < 0.0:
        i = heap[0][1]
        allocations[i].add_token()
        num_left -= 1
        if allocations[i].is_at_cap:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-allocations[i].gain(), i))


def _allocate_under_barrier(allocations: Sequence[ClientAllocation], budget: Budget, num_left: int) -> None:
    """One round time for all clients, exactly: for every time D by which all have proposed, the best tokens within D.

    For a given D the objective is separable and concave in grants, and its time depends on their sum alone. So the best
    grants with a given sum are the tokens of highest value whose proposals arrive by D. All D and all sums are tried.
    """
    if not allocations or num_left <= 0:
        return
    tokens = sorted(
        (-value, j, i, proposal_after_s)
        for i, allocation in enumerate(allocations)
        for j, (value, proposal_after_s) in enumerate(allocation.lookahead(num_left))
    )
    first_s = max(allocation.proposal_after_s() for allocation in allocations)
    values = np.array([0.0, *(-token[0] for token in tokens)])
    arrivals = np.array([first_s, *(token[3] for token in tokens)])
    deadlines = np.unique(np.maximum(arrivals, first_s))
    is_taken = arrivals <= deadlines[:, np.newaxis]  # [deadlines, 1 + tokens], bool
    is_taken[:, 0] = False
    num_taken = np.cumsum(is_taken, axis=1)
    step_s = budget.step_s + budget.token_s * (sum(allocation.grant for allocation in allocations) + num_taken)
    round_s = np.maximum(deadlines[:, np.newaxis] + step_s, MIN_ROUND_S)
    weight = sum(allocation.weight for allocation in allocations)
    utility = np.cumsum(values * is_taken, axis=1) - weight * np.log(round_s)
    best = np.argmax(np.where(num_taken <= num_left, utility, -np.inf))
    deadline, last = np.unravel_index(best, utility.shape)
    for index in range(1, int(last) + 1):
        if is_taken[deadline, index]:
            allocations[tokens[index - 1][2]].add_token()
