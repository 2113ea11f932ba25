"""The time-aware scheduler: utility of tokens per second, in which every draft token has a price in time.

The paper's scheduler counts tokens per round, so it always spends the whole budget: a token costs nothing. In time it
costs its own client drafting_s, and every client that waits for that step token_s. The objective is derived in
docs/explain/time_aware.md.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import Budget, ClientView

FIRST_TOKENS: Final = 2
"""Draft tokens of a stream while the times of its client are not known: a slow drafter would keep it waiting for more
than one round is worth."""
MIN_ROUND_S = 1e-9
"""For a round time whose parts are not known yet."""


class TimeAwareScheduler:
    """Maximises sum_i w_i log(tokens per second of i), to first order in what clients do to each other.

    A client has n_i streams, and each of them commits a token of the target's own besides. Of S granted tokens a share
    u_i is verified, after d_i(S) = min(S, n_i + u_i S) steps of drafting: a draft ends with a step that proposes
    nothing, unless it uses its grant. So a round takes T_i(S) = network_i + verify_i + drafting_i d_i(S) +
    token_s u_i S. While clients are not synchronised, each token of i delays the others that are at the verifier when
    i's step ends (co_batched_weight_i) by token_s once in T_i:

        f_i(S) = w_i log(mu_i(S) / T_i(S)) - token_s (co_batched_weight_i - w_i) (n_i + u_i S) / T_i(S),   S > 0

    With a grant of 0 the client's rounds are local: they wait for no network and no drafter, and verify up to k
    co-located draft tokens of each stream. With their survival c_j, and the chance e_j that a draft has so many tokens,
    the best k counts:

        mu_i(0) = n_i (1 + c_1 + ... + c_k)
        T_i(0) = local_round_s + n_i (token_s (e_1 + ... + e_k) + co_located_token_s (1 + e_1 + ... + e_(k-1)))

    At k = 0 this is target-only mode. So no client waits for drafts that would be faster without.

    The sum is separable. Every client gets the grant that is best for f_i, which is exact, if the budget holds all of
    them. Otherwise the budget goes where a token gains most, by the concave envelopes of the f_i; that is nearly exact
    (tests compare with brute force). Utility is that of the expected goodput, not the paper's gradient form with
    1 / X_i: per second the noise of X_i costs more than turns of integer grants bring (docs/measurements/log.md).

    While some clients are waited for, local rounds take longer than a step, and no client alone may gain by them. The
    grants are therefore compared with the state in which all rounds are local and take step_s.

    Under the barrier all rounds take T(S) = max(network_i + drafting_i d_i(S_i)) over clients with a grant, + step_s +
    token_s sum_i S_i, and the objective is sum_i w_i log(mu_i(S_i) / T(S)).
    """

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        floors = floors_within(clients, budget.tokens)
        if budget.is_barrier:
            return _grants_under_barrier(clients, budget, floors)
        caps = [min(client.max_grant, budget.tokens) for client in clients]
        curves = [
            objective_by_grant(client, budget, floor, cap)
            for client, floor, cap in zip(clients, floors, caps, strict=True)
        ]
        best = [_argmax(curve, floor) for curve, floor in zip(curves, floors, strict=True)]
        if not any(floors) and _pays_to_wait_for_nobody(clients, budget, best):
            return [0] * len(clients)
        return best if sum(best) <= budget.tokens else _share(curves, floors, best, budget.tokens)


def objective_by_grant(client: ClientView, budget: Budget, floor: int, cap: int) -> list[float]:
    """f_i by grant, from 0 to `cap` or to where it falls.

    While a time is not known, the value of tokens alone counts, up to FIRST_TOKENS. A client with a floor has no local
    rounds, and its curve is meaningful from its floor on.
    """
    base_s = client.network_s + client.verify_s
    if base_s <= 0.0:
        cap = min(cap, max(floor, FIRST_TOKENS * client.num_streams))
        return [client.weight * math.log(committed) for committed in _committed_by_grant(client, cap, budget)]
    local = best_local_round(client, budget, budget.local_round_s) if not floor and budget.local_round_s else None
    weight, utilisation, delayed_s = client.weight, client.grant_utilisation, _delayed_s(client, budget)
    drafting_s, token_s, num_streams = client.drafting_s, budget.token_s, float(client.num_streams)
    curve: list[float] = []
    before = -math.inf
    for grant, num_committed in enumerate(_committed_by_grant(client, cap, budget)):
        num_used = utilisation * grant
        num_verified = num_streams + num_used
        round_s = base_s + drafting_s * min(float(grant), num_verified) + token_s * num_used
        own = weight * math.log(num_committed / round_s)
        value = own - delayed_s * num_verified / round_s
        if local and own < local.own:  # no client is slower so that others are faster
            value = min(value, local.objective + own - local.own)
        curve.append(value)
        if value < before and grant > max(floor, 1) and grant >= num_verified:
            break
        before = value
    if local:
        curve[0] = local.objective
    return curve


class LocalRound(NamedTuple):
    """The local rounds of a client with some number of co-located tokens."""

    objective: float
    """f_i(0)."""
    own: float
    """f_i(0) without the delay of others: w_i log(mu_i(0) / T_i(0))."""
    num_committed: float
    """Tokens of all its streams."""
    added_s: float
    """Time that its co-located tokens add to the step."""


def best_local_round(client: ClientView, budget: Budget, round_s: float) -> LocalRound:
    """Local rounds with the best number of co-located tokens. They take `round_s` without those tokens."""
    num_streams, token_s, step_s = client.num_streams, budget.token_s, budget.co_located_token_s
    others = max(0.0, client.co_batched_weight - client.weight)

    def local_round(num_committed: float, added_s: float) -> LocalRound:
        total_s = round_s + added_s
        delayed_s = others * (num_streams * token_s + added_s)
        own = client.weight * math.log(num_committed / total_s)
        return LocalRound(own - delayed_s / total_s, own, num_committed, added_s)

    num_committed, added_s, reached_before = float(num_streams), 0.0, 1.0
    best = local_round(num_committed, added_s)
    for chance, reached in zip(client.co_located_survival, client.co_located_drafted, strict=True):
        if client.weight * chance * num_streams < budget.least_value * num_committed:
            break
        added_s += num_streams * (reached_before * step_s + reached * token_s)
        num_committed += num_streams * chance
        reached_before = reached
        longer = local_round(num_committed, added_s)
        if longer.objective > best.objective:
            best = longer
    return best


def num_useful(client: ClientView, budget: Budget) -> int | None:
    """The smallest number of accepted draft tokens of a client with which a remote round beats a local one.

    None: no number does. 1 while a time is not known.
    """
    if not budget.local_round_s or client.network_s + client.verify_s <= 0.0:
        return 1
    local = best_local_round(client, budget, budget.local_round_s).objective
    sure = replace(client, acceptance_rate=1.0, survival=(), grant_utilisation=1.0)
    curve = objective_by_grant(sure, budget, floor=1, cap=client.max_grant)
    return next((grant for grant in range(1, len(curve)) if curve[grant] > local), None)


def _pays_to_wait_for_nobody(clients: Sequence[ClientView], budget: Budget, grants: Sequence[int]) -> bool:
    """Whether local rounds of all, in steps that wait for no proposal, have a higher utility than these grants."""
    if not any(grants) or not budget.local_round_s or not budget.step_s:
        return False
    rounds = [best_local_round(client, budget, budget.step_s) for client in clients]
    step_s = budget.step_s + sum(local.added_s for local in rounds)
    gain = 0.0
    for client, grant, local in zip(clients, grants, rounds, strict=True):
        alone = replace(client, co_batched_weight=0.0)  # what others cost is in the times
        if grant and alone.network_s + alone.verify_s <= 0.0:
            return False
        curve = objective_by_grant(alone, budget, floor=grant, cap=grant)
        gain += client.weight * math.log(local.num_committed / step_s) - curve[grant]
    return gain > 0.0


def _delayed_s(client: ClientView, budget: Budget) -> float:
    """Weighted seconds by which a token of the client delays others."""
    return budget.token_s * max(0.0, client.co_batched_weight - client.weight)


def _drafting_s(client: ClientView, grant: int) -> float:
    return client.drafting_s * min(float(grant), client.num_streams + client.grant_utilisation * grant)


def _committed_by_grant(client: ClientView, cap: int, budget: Budget) -> list[float]:
    """mu_i by grant, 0..cap. Tokens that steps leave out, since others are worth more, bring nothing."""
    curve, survival = client.survival, 1.0
    num_committed = float(client.num_streams)
    committed = [num_committed]
    for j in range(cap):
        survival = curve[j] if j < len(curve) else survival * client.acceptance_rate
        if client.weight * survival >= budget.least_value * num_committed:
            num_committed += survival
        committed.append(num_committed)
    return committed


def _argmax(curve: Sequence[float], floor: int) -> int:
    """The smallest of the best grants from `floor` on."""
    best = floor
    for grant in range(floor + 1, len(curve)):
        if curve[grant] > curve[best]:
            best = grant
    return best


def _share(curves: Sequence[Sequence[float]], floors: Sequence[int], best: Sequence[int], num_tokens: int) -> list[int]:
    """Grants for which the budget is too small: the tokens of the steepest segments of the concave envelopes.

    A segment that no longer fits is left out; what remains goes to whoever gains most by it.
    """
    grants = list(floors)
    num_left = num_tokens - sum(floors)
    segments = [
        (-(curve[end] - curve[start]) / (end - start), i, end - start)
        for i, curve in enumerate(curves)
        for start, end in _envelope(curve, floors[i], best[i])
    ]
    is_whole = [True] * len(curves)
    for _, i, length in sorted(segments):
        is_whole[i] = is_whole[i] and length <= num_left
        if is_whole[i]:
            grants[i] += length
            num_left -= length
    while num_left > 0:
        gain, i, grant = max(_improvements(curves, grants, num_left), default=(0.0, 0, 0))
        if gain <= 0.0:
            break
        num_left -= grant - grants[i]
        grants[i] = grant
    return grants


def _envelope(curve: Sequence[float], start: int, end: int) -> Iterator[tuple[int, int]]:
    """The segments of the concave envelope between two grants, the steepest first."""
    corners: list[int] = []
    for grant in range(start, end + 1):
        while len(corners) > 1 and _is_below(curve, corners[-2], corners[-1], grant):
            corners.pop()
        corners.append(grant)
    return pairwise(corners)


def _is_below(curve: Sequence[float], start: int, middle: int, end: int) -> bool:
    """True if the curve at `middle` does not rise above the straight line from `start` to `end`."""
    return (curve[middle] - curve[start]) * (end - middle) <= (curve[end] - curve[middle]) * (middle - start)


def _improvements(
    curves: Sequence[Sequence[float]], grants: Sequence[int], num_left: int
) -> Iterator[tuple[float, int, int]]:
    """(gain, client, grant) of the best larger grant of every client that has one within `num_left` tokens."""
    for i, curve in enumerate(curves):
        best = _argmax(curve[: grants[i] + num_left + 1], grants[i])
        if best > grants[i]:
            yield curve[best] - curve[grants[i]], i, best


def _grants_under_barrier(clients: Sequence[ClientView], budget: Budget, floors: Sequence[int]) -> list[int]:
    """One round time for all clients, exactly: for every time D by which all have proposed, the best tokens within D.

    For a given D the objective is separable and concave in grants, and its time depends on their sum alone. So the best
    grants with a given sum are the tokens of highest value whose proposals arrive by D. All D and all sums are tried.
    """
    grants = list(floors)
    num_left = budget.tokens - sum(floors)
    if not clients or num_left <= 0:
        return grants
    tokens = sorted(
        (-value, j, i, after_s)
        for i, client in enumerate(clients)
        for j, (value, after_s) in enumerate(
            _token_values(client, floors[i], min(client.max_grant, floors[i] + num_left), budget)
        )
    )
    first_s = max(_proposal_after_s(client, floor) for client, floor in zip(clients, floors, strict=True))
    values = np.array([0.0, *(-token[0] for token in tokens)])
    arrivals = np.array([first_s, *(token[3] for token in tokens)])
    deadlines = np.unique(np.maximum(arrivals, first_s))
    is_taken = arrivals <= deadlines[:, np.newaxis]  # [deadlines, 1 + tokens], bool
    is_taken[:, 0] = False
    num_taken = np.cumsum(is_taken, axis=1)
    step_s = budget.step_s + budget.token_s * (sum(floors) + num_taken)
    round_s = np.maximum(deadlines[:, np.newaxis] + step_s, MIN_ROUND_S)
    weight = sum(client.weight for client in clients)
    utility = np.cumsum(values * is_taken, axis=1) - weight * np.log(round_s)
    best = np.argmax(np.where(num_taken <= num_left, utility, -np.inf))
    deadline, last = np.unravel_index(best, utility.shape)
    for index in range(1, int(last) + 1):
        if is_taken[deadline, index]:
            grants[tokens[index - 1][2]] += 1
    return grants


def _token_values(client: ClientView, floor: int, cap: int, budget: Budget) -> list[tuple[float, float]]:
    """(what it adds to w log mu, when its proposal arrives) of each token from the floor to the cap."""
    committed = _committed_by_grant(client, cap, budget)
    return [
        (client.weight * math.log(committed[grant] / committed[grant - 1]), _proposal_after_s(client, grant))
        for grant in range(floor + 1, cap + 1)
    ]


def _proposal_after_s(client: ClientView, grant: int) -> float:
    """From a verdict to the proposal; 0 for a client without a grant, whose proposal no step waits for."""
    return client.network_s + _drafting_s(client, grant) if grant else 0.0
