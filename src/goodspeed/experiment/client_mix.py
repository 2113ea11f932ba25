"""A scenario with another number of clients in the same mix of tiers."""

import heapq
from collections.abc import Sequence
from dataclasses import replace

from goodspeed.errors import ConfigError
from goodspeed.simulator.scenario import Scenario


def with_clients(scenario: Scenario, num_clients: int) -> Scenario:
    """The scenario with so many drafters in all. Raises ConfigError if there are more tiers than that.

    More clients are the same ones and further ones: the streams of random numbers belong to tier and number.
    """
    counts = tier_counts([tier.count for tier in scenario.drafters], num_clients)
    tiers = (replace(tier, count=count) for tier, count in zip(scenario.drafters, counts, strict=True))
    return replace(scenario, drafters=tuple(tiers))


def tier_counts(mix: Sequence[int], num_clients: int) -> list[int]:
    """Clients of each tier, at least 1: in proportion to `mix`, rounded by the method of Sainte-Lague.

    With one client more, one tier has one more and none has fewer.
    """
    if num_clients < len(mix):
        raise ConfigError(f"there are {len(mix)} drafter tiers and {num_clients} clients, expected one for each tier")
    counts = [1] * len(mix)
    waiting = [(-weight / 3, tier) for tier, weight in enumerate(mix)]
    heapq.heapify(waiting)
    for _ in range(num_clients - len(mix)):
        _, tier = waiting[0]
        counts[tier] += 1
        heapq.heapreplace(waiting, (-mix[tier] / (2 * counts[tier] + 1), tier))
    return counts


def check_scalable(scenario: Scenario) -> None:
    """Raises ConfigError if more clients would not be more load."""
    for tier in scenario.drafters:
        if tier.workload.arrivals == "trace":
            raise ConfigError(
                f"workload.arrivals of drafters {tier.name!r} is 'trace', whose requests are shared among the clients; "
                "expected arrivals of which each client has its own"
            )
