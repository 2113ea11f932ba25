"""The gradient scheduler's grants for many clients at once, by a search for the price of the budget's last token.

A token is granted if its log value is at least the log price. At a given price every client's grant has a closed form,
and the sum of the grants falls as the price rises. The search encloses the price between two prices between which few
tokens lie; these tokens are compared one by one.
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
"""Tokens whose log value is this near to a price are compared one by one. Rounding errors are far smaller."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The log value of every token of every client; it falls with the token's position.

    Token j (from 1) of client i has log_head[j - 1, i] while j <= num_head, then log_base[i] + j log_rate[i].
    """

    log_base: Floats  # [clients]
    log_rate: Floats  # [clients], below 0
    log_head: Floats  # [num_head, clients]; num_head is 0 where acceptance is geometric
    floors: Ints  # [clients], granted at any price
    caps: Ints  # [clients], at least floors; no token without value lies between floor and cap

    def at(self, price: float) -> Ints:
        """Every client's grant at this price: the tokens of at least this value, from floor to cap."""
        num_head = len(self.log_head)
        grants = np.floor((price - self.log_base) / self.log_rate)
        if num_head:
            in_head = np.add.reduce(self.log_head >= price, axis=0, dtype=np.int16)
            grants = np.where(grants > num_head, grants, in_head)
        return np.clip(grants, self.floors, self.caps).astype(np.int64)

    def log_values(self, clients: Ints, tokens: Ints) -> Floats:
        """The log values of these clients' tokens, one for each pair."""
        num_head = len(self.log_head)
        values = self.log_base[clients] + tokens * self.log_rate[clients]
        if num_head:
            in_head = tokens <= num_head
            values[in_head] = self.log_head[tokens[in_head] - 1, clients[in_head]]
        return values


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
    with np.errstate(divide="ignore"):  # the log of a chance of 0 is -inf: never granted
        log_rate = np.where(acceptance_rates > 0.0, np.log(acceptance_rates), -1.0)
        np.log(log_head, out=log_head)
    log_head += log_weights
    log_base = log_weights if num_head == 0 else log_head[-1] - num_head * log_rate
    is_unbounded = (num_alive == num_head) & (acceptance_rates > 0.0)
    useful = np.where(np.isneginf(log_weights), 0, np.where(is_unbounded, caps, num_alive))
    return Demand(log_base, log_rate, log_head, floors, np.maximum(floors, np.minimum(caps, useful)))


def demand_of_views(clients: Sequence[ClientView], fairness: float) -> Demand:
    """The demand of clients as a scheduler sees them, for alpha-fair utility."""
    acceptance_rates = np.array([client.acceptance_rate for client in clients])
    caps = np.array([client.max_grant for client in clients], dtype=np.int64)
    floors = np.array([client.min_grant for client in clients], dtype=np.int64)
    with np.errstate(divide="ignore"):
        log_weights = np.log([client.weight for client in clients])
    log_weights = log_weights - fairness * np.log([client.goodput for client in clients])
    survival = _survival(clients, acceptance_rates)
    return demand_of(log_weights, acceptance_rates, np.minimum(floors, caps), caps, survival)


def grants_by_price(demand: Demand, num_tokens: int) -> Ints:
    """The grants of the greedy allocation: together at most `num_tokens`, and of the highest total value."""
    num_before = np.cumsum(demand.floors) - demand.floors
    if demand.floors.sum() >= num_tokens:
        met: Ints = np.clip(num_tokens - num_before, 0, demand.floors)
        return met
    if demand.caps.sum() <= num_tokens:
        return demand.caps
    high, low = _enclosing_prices(demand, num_tokens)
    certain = demand.at(high + ROUNDING)
    between = demand.at(low - ROUNDING) - certain
    clients = np.repeat(np.arange(len(certain)), between)
    tokens = 1 + certain[clients] + _positions_in_runs(between)
    best = _highest(demand.log_values(clients, tokens), tokens, clients, num_tokens - int(certain.sum()))
    return certain + np.bincount(clients[best], minlength=len(certain))


def _enclosing_prices(demand: Demand, num_tokens: int) -> tuple[float, float]:
    """Log prices (high, low) with less and more demand than `num_tokens`, at most one token per client between them.

    Regula falsi, kept off the ends: demand is nearly linear in the log price. Tokens of equal value end the search too.
    """
    elastic = np.flatnonzero(demand.caps > demand.floors)
    high = float(demand.log_values(elastic, demand.floors[elastic] + 1).max()) + 1.0
    low = float(demand.log_values(elastic, demand.caps[elastic]).min()) - 1.0
    at_high, at_low = int(demand.floors.sum()), int(demand.caps.sum())
    while at_low - at_high > len(demand.caps) and high - low > ROUNDING:
        share = (num_tokens - at_high) / (at_low - at_high)
        price = high + min(0.9, max(0.1, share)) * (low - high)
        num_demanded = int(demand.at(price).sum())
        if num_demanded > num_tokens:
            low, at_low = price, num_demanded
        else:
            high, at_high = price, num_demanded
    return high, low


def _positions_in_runs(lengths: Ints) -> Ints:
    """0, 1, ... within each run: [2, 0, 3] gives [0, 1, 0, 1, 2]."""
    starts = np.cumsum(lengths) - lengths
    positions: Ints = np.arange(lengths.sum()) - np.repeat(starts, lengths)
    return positions


def _highest(values: Floats, tokens: Ints, clients: Ints, num_chosen: int) -> Ints:
    """Indices of the `num_chosen` tokens of highest value; of equal ones the earlier token, then the earlier client."""
    if num_chosen == 0:
        return np.zeros(0, dtype=np.int64)
    lowest = np.partition(values, len(values) - num_chosen)[len(values) - num_chosen]
    above = np.flatnonzero(values > lowest)
    equal = np.flatnonzero(values == lowest)
    in_order = equal[np.lexsort((clients[equal], tokens[equal]))]
    return np.concatenate([above, in_order[: num_chosen - len(above)]])


def _survival(clients: Sequence[ClientView], acceptance_rates: Floats) -> Floats | None:
    """The clients' curves as one matrix [clients, tokens], the shorter ones continued; None if no client has one."""
    lengths = np.array([len(client.survival) for client in clients])
    if not lengths.any():
        return None
    num_beyond = np.arange(1, lengths.max() + 1) - lengths[:, None]
    survival: Floats = acceptance_rates[:, None] ** np.maximum(0, num_beyond)
    last = np.array([client.survival[-1] if client.survival else 1.0 for client in clients])
    survival *= last[:, None]
    survival[num_beyond <= 0] = list(itertools.chain.from_iterable(client.survival for client in clients))
    return survival
