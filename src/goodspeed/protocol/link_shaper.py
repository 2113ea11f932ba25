"""The link shaper computes when bytes arrive over an emulated link. Clock and random generator are arguments.

A LinkShaper is one direction of one drafter's link. The in-process transport, the gRPC transport (to emulate a WAN on
loopback) and the simulator use it. The model is a reliable, ordered byte stream (TCP):

    serialisation (queueing behind earlier bytes) -> half a round trip, with jitter -> retransmission of lost packets

Bytes arrive in the order of sending. During an outage nothing leaves; waiting bytes leave when it ends.
"""

import bisect
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from goodspeed.protocol.link_config import LinkConditions, LinkConfig, read_trace

PACKET_BYTES = 1460
"""Payload of a TCP segment on Ethernet."""

MAX_RETRANSMITS = 8
DRAWN_AHEAD = 16
"""Normal numbers drawn per call of the generator, whose overhead is larger than the cost of a number."""


class LinkShaper:
    """One direction of an emulated link. Calls must be in the order of sending: `now` never decreases."""

    def __init__(
        self,
        config: LinkConfig,
        rng: np.random.Generator,
        start: float = 0.0,  # seconds on the clock of `now`
        trace: Sequence[LinkConditions] = (),  # ascending in at_s
    ) -> None:
        self._rng = rng
        self._start = start
        self._trace = tuple(trace)
        self._outages = tuple(sorted(config.outages, key=lambda outage: outage.start_s))
        self._retransmit_s = config.retransmit_ms / 1e3
        self._set_conditions(LinkConditions(0.0, config.rtt_ms, config.bandwidth_mbps, config.loss))
        self._free_at = start  # when the last byte sent so far will have left
        self._arrived_at = start  # when the last byte sent so far will have arrived
        self._jitter_at = -math.inf
        self._jitter = 0.0  # standard normal, correlated in time
        self._jitter_memory_s = config.jitter_memory_ms / 1e3
        self._jitter_variance = math.log1p(config.jitter**2)  # variance of the logarithm of the delay
        self._normals: list[float] = []  # drawn in advance; the next one is the last

    def delivery(self, num_bytes: int, now: float) -> float:
        """When all of `num_bytes` that are sent at `now` will have arrived, in seconds on the same clock."""
        if self._trace:
            self._set_conditions(self._conditions(now))
        leaves_at = max(now, self._free_at)
        if self._outages:
            leaves_at = self._after_outages(leaves_at)
        self._free_at = leaves_at + (8 * num_bytes / self._bits_per_s if self._bits_per_s else 0.0)
        flight_s = self._delay_s * self._jitter_factor(now) + self._retransmission_s(num_bytes)
        self._arrived_at = max(self._arrived_at, self._free_at + flight_s)
        return self._arrived_at

    def _set_conditions(self, conditions: LinkConditions) -> None:
        self._delay_s = conditions.rtt_ms / 2e3  # one way
        self._bits_per_s = conditions.bandwidth_mbps * 1e6
        self._loss = conditions.loss

    def _conditions(self, now: float) -> LinkConditions:
        index = bisect.bisect_right(self._trace, now - self._start, key=lambda point: point.at_s)
        return self._trace[max(0, index - 1)]

    def _after_outages(self, time: float) -> float:
        for outage in self._outages:
            start = self._start + outage.start_s
            if start <= time < start + outage.duration_s:
                time = start + outage.duration_s
        return time

    def _jitter_factor(self, now: float) -> float:
        """Log-normal with mean 1; its logarithm is an Ornstein-Uhlenbeck process, sampled at the times of sending."""
        variance, memory_s = self._jitter_variance, self._jitter_memory_s
        if not variance:
            return 1.0
        correlation = math.exp(-(now - self._jitter_at) / memory_s) if memory_s else 0.0
        self._jitter = correlation * self._jitter + math.sqrt(1 - correlation * correlation) * self._normal()
        self._jitter_at = now
        return math.exp(math.sqrt(variance) * self._jitter - variance / 2)

    def _normal(self) -> float:
        if not self._normals:
            self._normals = self._rng.standard_normal(DRAWN_AHEAD).tolist()[::-1]
        return self._normals.pop()

    def _retransmission_s(self, num_bytes: int) -> float:
        """Timeouts of the packet that is lost most often: with n packets, Pr(none is lost k times) = (1 - loss^k)^n."""
        if not self._loss:
            return 0.0
        num_packets = max(1, math.ceil(num_bytes / PACKET_BYTES))
        tail = -math.expm1(math.log(1.0 - self._rng.random()) / num_packets)
        num_losses = math.ceil(math.log(max(tail, 1e-300)) / math.log(self._loss)) - 1
        num_losses = min(max(num_losses, 0), MAX_RETRANSMITS)
        return self._retransmit_s * float(2**num_losses - 1)


def make_link_shapers(config: LinkConfig, seed: int, start: float) -> tuple[LinkShaper, LinkShaper]:
    """Uplink and downlink of one drafter, with independent random numbers. Raises ConfigError for a bad trace file."""
    trace = read_trace(Path(config.trace_file)) if config.trace_file else ()
    up, down = np.random.default_rng(seed).spawn(2)
    return LinkShaper(config, up, start, trace), LinkShaper(config, down, start, trace)
