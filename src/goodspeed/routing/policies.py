"""The routing policies by name."""

from collections.abc import Callable

from goodspeed.registry import Registry
from goodspeed.routing.failover import Failover
from goodspeed.routing.jsq import JoinShortestQueue
from goodspeed.routing.latency_aware import LatencyAware
from goodspeed.routing.power_of_two import PowerOfTwo
from goodspeed.routing.random import RandomRouting
from goodspeed.routing.round_robin import RoundRobin
from goodspeed.routing.routing_policy import RoutingPolicy

ROUTINGS: Registry[Callable[[], RoutingPolicy]] = Registry(
    "routing policy",
    {
        "failover": Failover,
        "random": RandomRouting,
        "round_robin": RoundRobin,
        "jsq": JoinShortestQueue,
        "power_of_two": PowerOfTwo,
        "latency_aware": LatencyAware,
    },
    group="goodspeed.routing",
)

ONE_AT_A_TIME = frozenset({"failover"})
"""Policies with which a drafter connects to one verifier at a time. With the others it connects to all."""
