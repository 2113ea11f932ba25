"""The time-aware scheduler: utility of tokens per second, where every draft token has its price in time.

The paper's scheduler counts tokens per round, so it always spends the whole budget: a token costs nothing. In time it
costs its own client drafting_s, and everybody who waits for that step token_s. docs/time_aware.md derives what follows.
"""

import copy
import heapq
import math
from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import Budget, ClientView

LEAST_S = 1e-9
"""For a round time whose parts are not known yet."""


class TimeAwareScheduler:
    """Maximises sum_i w_i log(tokens per second of i), to first order in what clients do to each other.

    With n_i streams, of which each commits a token of the target's own besides, and with the share u_i of grants that
    is used, a client's round takes T_i(S) = gap_i + verify_i + (drafting_i + token_s) u_i S. While clients go round at
    their own pace each token of i delays the others that are at the verifier when i's step ends (co_batched_weight) by
    token_s once in T_i:

        f_i(S) = w_i log(mu_i(S) / T_i(S)) - token_s (company_i - w_i) (n_i + u_i S) / T_i(S),   S > 0

    A grant of 0 sends the client on alone: no link and no drafter is waited for, mu_i(0) = n_i and T_i(0) = alone_s. So
    nobody drafts who would be faster without (design.md, "never slower than the target alone").

    The sum is separable; tokens go one by one to whom they are worth most, until none is worth its time or the budget
    is spent; who is better off alone then gives its tokens back. That is exact where every f_i is concave (the first
    term has one maximum; tests hold the whole against brute force). Utility is that of the expected goodput, not the
    paper's gradient form with 1 / X_i: per second the noise of X_i costs more than turns of integer grants bring
    (docs/log.md).

    Under the barrier everybody's round takes T(S) = max(gap_i + drafting_i S_i) over those with a grant, + step_s +
    token_s sum_i S_i, and the objective is sum_i w_i log(mu_i(S_i) / T(S)).
    """

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        floors = floors_within(clients, budget.tokens)
        climbs = [ClientAllocation(client, budget, floor) for client, floor in zip(clients, floors, strict=True)]
        if budget.is_barrier:
            _climb_together(climbs, budget, budget.tokens - sum(floors))
        else:
            _climb_or_go_alone(climbs, budget.tokens)
        return [climb.grant for climb in climbs]


class ClientAllocation:
    """One client's way up, token by token."""

    __slots__ = (
        "_client",
        "_cost_s",
        "_floor",
        "_others_s",
        "_round_s",
        "_survival",
        "_target_only_token_s",
        "_tokens",
        "_used",
        "grant",
    )

    def __init__(self, client: ClientView, budget: Budget, floor: int) -> None:
        self._client = client
        self._floor = floor
        self._target_only_token_s = budget.target_only_token_s
        self._cost_s = client.grant_utilisation * (client.drafting_s + budget.token_s)
        self._others_s = budget.token_s * max(0.0, client.co_batched_weight - client.weight)
        self.start()

    def start(self) -> None:
        """At the floor."""
        self.grant = 0
        self._round_s = self._client.network_s + self._client.verify_s
        self._tokens = float(self._client.num_streams)
        self._used = float(self._client.num_streams)  # tokens in its steps, the target's own with them
        self._survival = 1.0
        self._survival = self._next_survival()
        for _ in range(self._floor):
            self.step()

    def step(self) -> None:
        """Take the next token."""
        self._tokens += self._survival
        self._round_s += self._cost_s
        self._used += self._client.grant_utilisation
        self.grant += 1
        self._survival = self._next_survival()

    @property
    def weight(self) -> float:
        return self._client.weight

    @property
    def is_done(self) -> bool:
        return self.grant >= self._client.max_grant

    def worth(self) -> float:
        """What the next token adds to w log mu."""
        return self._client.weight * math.log1p(self._survival / self._tokens)

    def gain(self) -> float:
        """What the next token adds to f_i; its worth alone while no time is known."""
        before_s = self._round_s
        after_s = before_s + self._cost_s
        if before_s <= 0.0:
            return self.worth()
        own = self._client.weight * math.log(after_s / before_s)
        others = self._others_s * ((self._used + self._client.grant_utilisation) / after_s - self._used / before_s)
        return self.worth() - own - others

    def loss(self) -> float:
        """What the client would gain in f_i by going on alone; 0 while no time is known, and for who has a floor."""
        if self._floor or self._round_s <= 0.0 or not self._target_only_token_s:
            return 0.0
        num_streams = self._client.num_streams
        alone = self._value(num_streams, num_streams, self._target_only_token_s)
        return alone - self._value(self._tokens, self._used, self._round_s)

    def _value(self, num_committed: float, num_used: float, round_s: float) -> float:
        """f_i."""
        return self._client.weight * math.log(num_committed / round_s) - self._others_s * num_used / round_s

    def arrival_s(self) -> float:
        """From a verdict to the proposal; 0 for who waits for none."""
        return self._client.network_s + self._client.drafting_s * self.grant if self.grant else 0.0

    def ahead(self, num_tokens: int) -> list[tuple[float, float]]:
        """(worth, arrival_s) of the next tokens, one by one; the climb itself stays where it is."""
        climb = copy.copy(self)
        found = []
        for _ in range(min(num_tokens, self._client.max_grant - self.grant)):
            worth = climb.worth()
            climb.step()
            found.append((worth, climb.arrival_s()))
        return found

    def _next_survival(self) -> float:
        curve = self._client.survival
        return curve[self.grant] if self.grant < len(curve) else self._survival * self._client.acceptance_rate


def _climb_or_go_alone(climbs: Sequence[ClientAllocation], num_tokens: int) -> None:
    """Who would be faster alone even with all tokens goes; then, one by one, who loses most by the share there is."""
    for climb in climbs:
        _climb_apart([climb], num_tokens - climb.grant)
    drafting = [climb for climb in climbs if climb.loss() <= 0.0]
    while True:
        for climb in climbs:
            climb.start()
        _climb_apart(drafting, num_tokens - sum(climb.grant for climb in drafting))
        loser = max(drafting, key=ClientAllocation.loss, default=None)
        if loser is None or loser.loss() <= 0.0:
            return
        drafting.remove(loser)


def _climb_apart(climbs: Sequence[ClientAllocation], num_left: int) -> None:
    """Every client at its own pace: the best tokens of all, while they gain."""
    heap = [(-climb.gain(), i) for i, climb in enumerate(climbs) if not climb.is_done]
    heapq.heapify(heap)
    while heap and num_left > 0 and heap[0][0] < 0.0:
        i = heap[0][1]
        climbs[i].step()
        num_left -= 1
        if climbs[i].is_done:
            heapq.heappop(heap)
        else:
            heapq.heapreplace(heap, (-climbs[i].gain(), i))


def _climb_together(climbs: Sequence[ClientAllocation], budget: Budget, num_left: int) -> None:
    """One round time for all, exactly: for every time D by which all have proposed, the best tokens that D allows.

    For a given D the objective is separable and concave in grants, and its time depends on their sum alone; so the best
    of every sum are the most worthy tokens whose proposals come by D. Tried are all D and all sums.
    """
    if not climbs or num_left <= 0:
        return
    tokens = sorted(
        (-worth, j, i, arrival_s)
        for i, climb in enumerate(climbs)
        for j, (worth, arrival_s) in enumerate(climb.ahead(num_left))
    )
    first_s = max(climb.arrival_s() for climb in climbs)
    worths = np.array([0.0, *(-token[0] for token in tokens)])
    arrivals = np.array([first_s, *(token[3] for token in tokens)])
    deadlines = np.unique(np.maximum(arrivals, first_s))
    is_taken = arrivals <= deadlines[:, np.newaxis]  # [deadlines, 1 + tokens], bool
    is_taken[:, 0] = False
    num_taken = np.cumsum(is_taken, axis=1)
    step_s = budget.step_s + budget.token_s * (sum(climb.grant for climb in climbs) + num_taken)
    round_s = np.maximum(deadlines[:, np.newaxis] + step_s, LEAST_S)
    weight = sum(climb.weight for climb in climbs)
    utility = np.cumsum(worths * is_taken, axis=1) - weight * np.log(round_s)
    best = np.argmax(np.where(num_taken <= num_left, utility, -np.inf))
    deadline, last = np.unravel_index(best, utility.shape)
    for place in range(1, int(last) + 1):
        if is_taken[deadline, place]:
            climbs[tokens[place - 1][2]].step()
