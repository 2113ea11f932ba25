"""The gradient scheduler's grants for many clients at once: search the price that the budget's last token fetches.

At a price (the log of the least worth that is still bought) every client's grant has a closed form, and the sum of the
grants falls as the price rises. Two prices are searched between which few tokens lie; those are compared one by one.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from goodspeed.scheduling.scheduler import ClientView

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDING = 1e-9
"""Tokens whose log worth is this near to a price are compared one by one: far more than the logs' rounding errors."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The log of what every token of every client is worth, falling by client.

    Token j (from 1) of client i is worth log_head[j - 1, i] while j <= num_head, then log_base[i] + j log_rate[i].
    """

    log_base: Floats  # [clients]
    log_rate: Floats  # [clients], below 0
    log_head: Floats  # [num_head, clients]; num_head is 0 where acceptance is geometric
    floors: Ints  # [clients], granted at any price
    caps: Ints  # [clients], at least floors; beyond the floor no worthless token is within the cap

    def at(self, price: float) -> Ints:
        """Every client's grant at this price: its tokens that are worth it, from floor to cap."""
        num_head = len(self.log_head)
        grants = np.floor((price - self.log_base) / self.log_rate)
        if num_head:
            in_head = np.add.reduce(self.log_head >= price, axis=0, dtype=np.int16)
            grants = np.where(grants > num_head, grants, in_head)
        return np.clip(grants, self.floors, self.caps).astype(np.int64)

    def worth(self, clients: Ints, tokens: Ints) -> Floats:
        """The log of what these clients' tokens are worth, one for each pair."""
        num_head = len(self.log_head)
        worth = self.log_base[clients] + tokens * self.log_rate[clients]
        if num_head:
            in_head = tokens <= num_head
            worth[in_head] = self.log_head[tokens[in_head] - 1, clients[in_head]]
        return worth


def demand_of(
    log_weights: Floats,  # [clients], the log of w U'(X)
    acceptance_rates: Floats,  # [clients], 0 to below 1
    floors: Ints,  # [clients], at least 0
    caps: Ints,  # [clients], at least floors
    survival: Floats | None = None,  # [clients, tokens], never rising by row; past its end acceptance is geometric
) -> Demand:
    """The demand of clients given as arrays."""
    log_head = np.zeros((0, len(caps))) if survival is None else survival.T.copy()
    num_head = len(log_head)
    num_alive = np.add.reduce(log_head > 0.0, axis=0, dtype=np.int64)
    with np.errstate(divide="ignore"):  # the log of no chance is -inf: never bought
        log_rate = np.where(acceptance_rates > 0.0, np.log(acceptance_rates), -1.0)
        np.log(log_head, out=log_head)
    log_head += log_weights
    log_base = log_weights if num_head == 0 else log_head[-1] - num_head * log_rate
    is_endless = (num_alive == num_head) & (acceptance_rates > 0.0)
    useful = np.where(np.isneginf(log_weights), 0, np.where(is_endless, caps, num_alive))
    return Demand(log_base, log_rate, log_head, floors, np.maximum(floors, np.minimum(caps, useful)))


def demand_of_views(clients: Sequence[ClientView], fairness: float) -> Demand:
    """The demand of clients as a scheduler sees them; alpha-fair utility."""
    acceptance_rates = np.array([client.acceptance_rate for client in clients])
    caps = np.array([client.max_grant for client in clients], dtype=np.int64)
    floors = np.array([client.min_grant for client in clients], dtype=np.int64)
    with np.errstate(divide="ignore"):
        log_weights = np.log([client.weight for client in clients])
    log_weights = log_weights - fairness * np.log([client.goodput for client in clients])
    survival = _survival(clients, acceptance_rates)
    return demand_of(log_weights, acceptance_rates, np.minimum(floors, caps), caps, survival)


def grants_by_price(demand: Demand, num_tokens: int) -> Ints:
    """The greedy's grants: all of them together at most `num_tokens`, and worth the most."""
    num_before = np.cumsum(demand.floors) - demand.floors
    if demand.floors.sum() >= num_tokens:
        met: Ints = np.clip(num_tokens - num_before, 0, demand.floors)
        return met
    if demand.caps.sum() <= num_tokens:
        return demand.caps
    high, low = _enclosing_prices(demand, num_tokens)
    surely = demand.at(high + ROUNDING)
    between = demand.at(low - ROUNDING) - surely
    clients = np.repeat(np.arange(len(surely)), between)
    tokens = 1 + surely[clients] + _positions_in_runs(between)
    best = _largest(demand.worth(clients, tokens), tokens, clients, num_tokens - int(surely.sum()))
    return surely + np.bincount(clients[best], minlength=len(surely))


def _enclosing_prices(demand: Demand, num_tokens: int) -> tuple[float, float]:
    """Prices (high, low) at which less than `num_tokens` and more are bought, with at most a token a client between.

    False position, kept off the ends: in the log price demand is nearly linear. Tokens of one worth end the search too.
    """
    open_ones = np.flatnonzero(demand.caps > demand.floors)
    high = float(demand.worth(open_ones, demand.floors[open_ones] + 1).max()) + 1.0
    low = float(demand.worth(open_ones, demand.caps[open_ones]).min()) - 1.0
    at_high, at_low = int(demand.floors.sum()), int(demand.caps.sum())
    while at_low - at_high > len(demand.caps) and high - low > ROUNDING:
        share = (num_tokens - at_high) / (at_low - at_high)
        price = high + min(0.9, max(0.1, share)) * (low - high)
        bought = int(demand.at(price).sum())
        if bought > num_tokens:
            low, at_low = price, bought
        else:
            high, at_high = price, bought
    return high, low


def _positions_in_runs(lengths: Ints) -> Ints:
    """0, 1, ... within each run: [2, 0, 3] gives [0, 1, 0, 1, 2]."""
    starts = np.cumsum(lengths) - lengths
    positions: Ints = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return positions


def _largest(worth: Floats, tokens: Ints, clients: Ints, num_chosen: int) -> Ints:
    """Which `num_chosen` tokens are worth most; of equal ones the first of their clients, then the earlier clients'."""
    if num_chosen == 0:
        return np.zeros(0, dtype=np.int64)
    least = np.partition(worth, len(worth) - num_chosen)[len(worth) - num_chosen]
    above = np.flatnonzero(worth > least)
    equal = np.flatnonzero(worth == least)
    in_order = equal[np.lexsort((clients[equal], tokens[equal]))]
    return np.concatenate([above, in_order[: num_chosen - len(above)]])


def _survival(clients: Sequence[ClientView], acceptance_rates: Floats) -> Floats | None:
    """The clients' curves as one matrix [clients, tokens], the shorter ones continued; None if nobody has one."""
    lengths = np.array([len(client.survival) for client in clients])
    if not lengths.any():
        return None
    num_more = np.arange(1, lengths.max() + 1) - lengths[:, None]
    survival: Floats = acceptance_rates[:, None] ** np.maximum(0, num_more)
    last = np.array([client.survival[-1] if client.survival else 1.0 for client in clients])
    survival *= last[:, None]
    survival[num_more <= 0] = list(itertools.chain.from_iterable(client.survival for client in clients))
    return survival
