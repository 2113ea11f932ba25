"""Time of a scheduler's decision on one core, for eight clients and for thousands.

Microseconds per decision, median and 90th percentile of n calls with different goodputs. "views" includes the
conversion of the verifier's client views, "arrays" starts from numpy arrays. 10 s; no model.

    python -m runs.scheduler_speed
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from goodspeed.scheduling.gradient import MANY_TOKENS, greedy_grants
from goodspeed.scheduling.policies import SCHEDULERS
from goodspeed.scheduling.price_search import demand_of, demand_of_views, grants_by_price
from goodspeed.scheduling.scheduler import Budget, ClientView, Scheduler

CURVE_LENGTH = 16
RNG = np.random.default_rng(0)


def survival(num_clients: int) -> NDArray[np.float64]:
    """[clients, CURVE_LENGTH]"""
    return np.cumprod(RNG.beta(3.0, 1.5, (num_clients, CURVE_LENGTH)), axis=1).astype(np.float64)


def views(num_clients: int, has_curves: bool) -> list[ClientView]:
    """Clients with different acceptance and goodput, and a cap of 16."""
    curves = survival(num_clients).tolist() if has_curves else [()] * num_clients
    rates, goodputs = RNG.uniform(0.3, 0.95, num_clients).tolist(), RNG.uniform(1.0, 6.0, num_clients).tolist()
    return [
        ClientView(rate, goodput, max_grant=16, survival=curve, network_s=0.03, drafting_s=0.001)
        for rate, goodput, curve in zip(rates, goodputs, curves, strict=True)
    ]


def show(name: str, decide: Callable[[int], object], num_calls: int) -> None:
    """Print a row; `decide` gets the number of the call."""
    for i in range(max(3, num_calls // 20)):
        decide(i)
    times = []
    for i in range(num_calls):
        start = time.perf_counter()
        decide(i)
        times.append(1e6 * (time.perf_counter() - start))
    print(f"| {name} | {np.median(times):,.1f} | {np.quantile(times, 0.9):,.1f} | {num_calls:,} |", flush=True)


def few_clients() -> None:
    """Every scheduler for 8 clients and 24 tokens."""
    for has_curves in (False, True):
        kind = "curves" if has_curves else "geometric"
        cases = [views(8, has_curves) for _ in range(64)]
        for name in SCHEDULERS:
            decide = partial(_decide, SCHEDULERS[name](), cases, Budget(24, step_s=0.03, token_s=0.001))
            show(f"`{name}`: 8 clients, 24 tokens, {kind}, views", decide, 5000)


def _decide(scheduler: Scheduler, cases: Sequence[Sequence[ClientView]], budget: Budget, i: int) -> list[int]:
    return scheduler.grants(cases[i % len(cases)], budget, RNG)


def many_clients() -> None:
    """The price search for 10,000 clients and 80,000 tokens."""
    num_clients, num_tokens = 10_000, 80_000
    log_weights = [-np.log(RNG.uniform(1.0, 6.0, num_clients)) for _ in range(8)]
    rates = RNG.uniform(0.3, 0.95, num_clients)
    floors, caps = np.zeros(num_clients, dtype=np.int64), np.full(num_clients, 64)
    for curves in (None, survival(num_clients)):
        kind = "geometric" if curves is None else f"curves of {CURVE_LENGTH}"

        def decide(i: int, curves: NDArray[np.float64] | None = curves) -> object:
            return grants_by_price(demand_of(log_weights[i % 8], rates, floors, caps, curves), num_tokens)

        show(f"price search: 10,000 clients, 80,000 tokens, {kind}, arrays", decide, 300)
    clients = views(num_clients, has_curves=False)
    gradient = SCHEDULERS["gradient"]()
    show(
        "`gradient`: the same clients, geometric, views",
        lambda _: gradient.grants(clients, Budget(num_tokens), RNG),
        30,
    )
    show("token by token: the same clients", lambda _: greedy_grants(clients, num_tokens, 1.0), 10)


def threshold() -> None:
    """Token-by-token allocation and price search around the threshold MANY_TOKENS."""
    for num_tokens in (MANY_TOKENS // 2, MANY_TOKENS, 2 * MANY_TOKENS):
        for has_curves in (False, True):
            clients = views(num_tokens // 4, has_curves)
            name = f"{len(clients)} clients, {num_tokens} tokens, {'curves' if has_curves else 'geometric'}, views"

            def by_token(_: int, clients: Sequence[ClientView] = clients, num_tokens: int = num_tokens) -> object:
                return greedy_grants(clients, num_tokens, 1.0)

            def by_price(_: int, clients: Sequence[ClientView] = clients, num_tokens: int = num_tokens) -> object:
                return grants_by_price(demand_of_views(clients, 1.0), num_tokens)

            show(f"token by token: {name}", by_token, 500)
            show(f"price search: {name}", by_price, 500)


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| decision | median, us | 90% | n |\n|---|---|---|---|")
    few_clients()
    many_clients()
    threshold()


if __name__ == "__main__":
    main()
