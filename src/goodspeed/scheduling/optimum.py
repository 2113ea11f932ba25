"""The optimum x* of the long-run problem: max sum_i w_i U(x_i) over the goodputs that mixtures of grants can reach.

The reachable set is the convex hull of mu(S) over all integer grants S within floors, caps and budget (GoodSpeed, arXiv
2512.09963, problem 1). Its upper boundary is {f(s)}: s real grants within the same limits, f_i linear between integers.
(The integer grants of one unit cell have an integral hull, and f is linear on it; concavity of mu gives the converse.)
So x* divides the budget by one price: every client takes draft tokens, in fractions, while w U'(x) s_j is above it.
That takes 57 ms for 1,000 clients; Frank-Wolfe takes 1 ms for 8, but 0.9 s for 200 (docs/measurements/theory.md).

The answer is certified: with the gradient scheduler as the oracle, max_v sum_i w_i U'(x_i) (v_i - x_i) bounds how far
any x is from the optimum. That gap is part of the answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from goodspeed.scheduling.gradient import GradientScheduler
from goodspeed.scheduling.marginals import floors_within, log_survival
from goodspeed.scheduling.scheduler import Budget, ClientView

Floats = NDArray[np.float64]

MAX_HALVINGS = 200  # of the interval that encloses the log price; the resolution of a double ends the search earlier


@dataclass(frozen=True, slots=True)
class Optimum:
    """x* with its certificate."""

    goodputs: Floats  # [clients] committed tokens per round
    grants: Floats  # [clients] mean grants
    utility: float
    gap: float
    """No reachable goodputs have a utility above utility + gap."""


def long_run_optimum(clients: Sequence[ClientView], budget: int, fairness: float = 1.0) -> Optimum:
    """x* for clients of these acceptance rates or survival curves, weights, floors and caps; their goodput is ignored.

    `fairness` is the alpha of alpha-fair utility, as the gradient scheduler's; at 0 x* need not be unique.
    """
    region = _Region.of(clients, budget)
    fill = _divide(region, budget, fairness)
    goodputs = 1.0 + np.sum(region.survival * fill, axis=1)
    return Optimum(
        goodputs=goodputs,
        grants=np.sum(fill, axis=1),
        utility=utility(goodputs, region.weights, fairness),
        gap=max(0.0, duality_gap(clients, budget, goodputs, fairness)),
    )


def utility(
    goodputs: Floats,  # [..., clients], above 0
    weights: Floats,  # [clients]
    fairness: float = 1.0,
) -> float:
    """sum_i w_i U(x_i), U alpha-fair: log x at fairness 1, else x^(1 - fairness) / (1 - fairness)."""
    values = np.log(goodputs) if fairness == 1.0 else goodputs ** (1.0 - fairness) / (1.0 - fairness)
    return float(weights @ values)


def duality_gap(clients: Sequence[ClientView], budget: int, goodputs: Floats, fairness: float = 1.0) -> float:
    """max_v sum_i w_i U'(x_i) (v_i - x_i) over reachable v: at least what `goodputs`, shape [clients], lack in utility.

    The maximum is the gradient scheduler's decision at these goodputs (Frank and Wolfe's certificate).
    """
    views = [replace(client, goodput=float(x)) for client, x in zip(clients, goodputs, strict=True)]
    grants = GradientScheduler(fairness).grants(views, Budget(budget), np.random.default_rng(0))
    best = np.array([expected_tokens(client, grant) for client, grant in zip(clients, grants, strict=True)])
    slopes = np.array([client.weight for client in clients]) * goodputs**-fairness
    return float(slopes @ (best - goodputs))


def expected_tokens(client: ClientView, grant: int) -> float:
    """mu: the number of tokens that a round with this grant is expected to commit."""
    return 1.0 + math.fsum(math.exp(log_survival(client, j)) for j in range(1, grant + 1))


@dataclass(frozen=True, slots=True)
class _Region:
    """The draft tokens that may be granted. Token j + 1 of client i adds survival[i, j] committed tokens."""

    survival: Floats  # [clients, tokens], 0 beyond the cap
    floors: Floats  # [clients]
    weights: Floats  # [clients]

    @classmethod
    def of(cls, clients: Sequence[ClientView], budget: int) -> "_Region":
        longest = max((min(client.max_grant, budget) for client in clients), default=0)
        survival = np.zeros((len(clients), longest))
        for i, client in enumerate(clients):
            for j in range(min(client.max_grant, budget)):
                survival[i, j] = math.exp(log_survival(client, j + 1))
        floors = np.array(floors_within(clients, budget), dtype=float)
        return cls(survival, floors, np.array([client.weight for client in clients]))


def _divide(region: _Region, budget: int, fairness: float) -> Floats:
    """The part of every token that is granted in the long run, [clients, tokens] in 0..1; at most `budget` in all."""
    all_tokens = _granted_at(region, -math.inf, fairness)
    if all_tokens.sum() <= budget:
        return all_tokens
    low, high = _price_range(region, fairness)
    for _ in range(MAX_HALVINGS):
        price = 0.5 * (low + high)
        if not low < price < high:
            break
        if _granted_at(region, price, fairness).sum() > budget:
            low = price
        else:
            high = price
    # At the price itself, linear utility allows any part of a token: both sides are optimal, and so is a mixture.
    less, more = _granted_at(region, high, fairness), _granted_at(region, low, fairness)
    share = (budget - less.sum()) / max(more.sum() - less.sum(), np.finfo(float).tiny)
    return less + min(1.0, float(share)) * (more - less)


def _granted_at(region: _Region, log_price: float, fairness: float) -> Floats:
    """The part of every token whose value is above the price, [clients, tokens]; floors are granted at any price."""
    survival = region.survival
    before = 1.0 + np.cumsum(survival, axis=1) - survival  # goodput without this token
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_value = np.log(region.weights)[:, None] + np.log(survival) - log_price
        if fairness == 0.0:
            part = (log_value > 0.0).astype(float)
        else:
            part = (np.exp(log_value / fairness) - before) / survival  # w U'(x) s = price at x = before + part s
    part = np.where((survival > 0.0) & (region.weights > 0.0)[:, None], np.clip(part, 0.0, 1.0), 0.0)
    is_floor = np.arange(survival.shape[1]) < region.floors[:, None]
    filled: Floats = np.where(is_floor, 1.0, part)
    return filled


def _price_range(region: _Region, fairness: float) -> tuple[float, float]:
    """Log prices at which every useful token is granted, and none."""
    useful = region.survival[(region.survival > 0.0) & (region.weights > 0.0)[:, None]]
    weights = np.log(region.weights[region.weights > 0.0])
    steepest = fairness * math.log(1.0 + region.survival.shape[1])
    return float(np.log(useful.min()) + weights.min() - steepest - 1.0), float(weights.max() + 1.0)
