"""Routes between drafters and verifiers: emulated links with random streams of their own, behind shared links."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from goodspeed.errors import ConfigError
from goodspeed.protocol.link_config import LinkConditions, LinkConfig, read_trace
from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.simulator.kernel import Kernel
from goodspeed.simulator.rng_streams import RngStreams, Role
from goodspeed.simulator.scenario import DrafterTier
from goodspeed.simulator.wire import ByteMeter, EmulatedPath, Route


class Routes:
    """The routes of one tier of drafters. Raises ConfigError if a link trace cannot be read."""

    def __init__(self, kernel: Kernel, rng_streams: RngStreams, tier_index: int, tier: DrafterTier) -> None:
        self.up_meter, self.down_meter = ByteMeter(), ByteMeter()
        self._kernel = kernel
        self._rng_streams = rng_streams
        self._tier_index = tier_index
        self._tier = tier
        self._downlink = tier.downlink or tier.link
        self._up_trace, self._down_trace = _read_link_trace(tier.link), _read_link_trace(self._downlink)
        self._shared = cache(self._make_shared)  # by group

    def route(self, drafter: int, verifier: int) -> Route:
        """A new route between this drafter of the tier and this verifier of the scenario."""
        path = (self._tier_index, drafter, verifier)
        spread = self._tier.distance_spread
        distance = self._rng_streams.rng(Role.DISTANCE, *path).uniform(1.0 - spread, 1.0 + spread) if spread else 1.0
        up_rng, down_rng = (self._rng_streams.rng(role, *path) for role in (Role.UPLINK, Role.DOWNLINK))
        up = LinkShaper(_scaled(distance, self._tier.link), up_rng, 0.0, self._up_trace)
        down = LinkShaper(_scaled(distance, self._downlink), down_rng, 0.0, self._down_trace)
        shared_up, shared_down = self._shared(drafter // self._tier.shared.num_drafters)
        return Route(
            EmulatedPath(self._kernel, (*shared_up, up), self.up_meter),
            EmulatedPath(self._kernel, (*shared_down, down), self.down_meter),
        )

    def _make_shared(self, group: int) -> tuple[Sequence[LinkShaper], Sequence[LinkShaper]]:
        shared = self._tier.shared
        rng = self._rng_streams.rng(
            Role.UPLINK, self._tier_index, group
        )  # required by LinkShaper, not used by these links
        up, down = (
            [LinkShaper(LinkConfig(bandwidth_mbps=mbps), rng)] if mbps else []
            for mbps in (shared.up_mbps, shared.down_mbps)
        )
        return up, down


def _scaled(distance: float, config: LinkConfig) -> LinkConfig:
    return config if distance == 1.0 else replace(config, rtt_ms=distance * config.rtt_ms)


def _read_link_trace(config: LinkConfig) -> Sequence[LinkConditions]:
    trace = read_trace(Path(config.trace_file)) if config.trace_file else []
    limits = [point.bandwidth_mbps for point in trace]
    if any(limits) and not all(limits):
        at_s = trace[limits.index(0.0)].at_s
        raise ConfigError(
            f"bandwidth_mbps is 0 at {at_s:g} s of {config.trace_file}, expected more than 0 "
            "(0 means no limit; use `outages` for times in which nothing arrives)"
        )
    return trace
