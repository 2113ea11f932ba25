"""The link to one verifier: whether it is up, when to dial again, and what is measured on it."""

from typing import Final

import numpy as np
from msgspec import Struct

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.known_texts import KnownTexts
from goodspeed.protocol.messages import Load, Open, Welcome
from goodspeed.routing.routing_policy import VerifierView
from goodspeed.stats.ewma import DecayedMean, Ewma
from goodspeed.windows.accepted_prefixes import AcceptedPrefixes

MEASUREMENT_WEIGHT: Final = 0.2
"""Weight of the latest measurement."""


class Dial(Struct, frozen=True):
    """The host must connect to this verifier (its index) at this time."""

    verifier: int
    at: float


class VerifierLink:
    """The drafter's view of one verifier. Every new connection starts with new measurements."""

    def __init__(self, index: int, config: RetryConfig) -> None:
        self.index = index
        self.is_up = False
        """Streams may be opened on it: it is connected, and the core has not decided to close it."""
        self.welcome: Welcome | None = None
        """Of the present connection or, without one, of the last; None before the first."""
        self.reconnection = Reconnection(index, config)
        self.texts = KnownTexts()
        self.num_streams = 0
        """This drafter's streams that the verifier has."""
        self._load_at: float | None = None
        self._reset_measurements()

    @property
    def has_room(self) -> bool:
        """It is up and takes one more stream."""
        return self.is_up and self.welcome is not None and self.num_streams < self.welcome.max_streams

    @property
    def grammars(self) -> str:
        """Welcome.grammars; empty before the first connection."""
        return self.welcome.grammars if self.welcome else ""

    @property
    def depth(self) -> int:
        """Streams at the verifier: those of other drafters as last reported, and this drafter's own as of now."""
        return self._num_others + self.num_streams

    def opening(self, request: Open) -> Open:
        """The Open as it is sent: without the tokens that the verifier knows."""
        keeps_prefixes = self.welcome is not None and self.welcome.keeps_prefixes
        return self.texts.shortened(request) if keeps_prefixes else request

    def on_up(self, welcome: Welcome, now: float) -> None:
        self.is_up = True
        self.welcome = welcome
        self.reconnection.on_up(now)
        self._reset_measurements()

    def on_lost(self, now: float, rng: np.random.Generator) -> None:
        self.is_up = False
        self.reconnection.on_lost(now, rng)

    def on_load(self, load: Load, now: float) -> None:
        self.queue_utilisation = load.queue_utilisation
        self._load_at = now
        self._utilisation = load.kv_used / load.kv_capacity if load.kv_capacity else 0.0
        self._num_others = max(0, load.open_streams + load.queued_streams - self.num_streams)

    def on_rtt(self, rtt_s: float) -> None:
        """A round trip, without queueing and verification."""
        if self.rtt_s.value is not None:
            self.jitter_s.observe(abs(rtt_s - self.rtt_s.value))
        self.rtt_s.observe(rtt_s)

    def on_verdict(self, queue_s: float, verify_s: float) -> None:
        self.queue_s.observe(queue_s)
        self.verify_s.observe(verify_s)
        self._service_s.observe((queue_s + verify_s) / max(1, self.depth))

    def load_age_s(self, now: float) -> float:
        """Time since the verifier's last report of its load; 0 before the first."""
        return 0.0 if self._load_at is None else now - self._load_at

    def view(self) -> VerifierView:
        """The routing policy's input."""
        return VerifierView(self.index, self.depth, self._utilisation, self.rtt_s.get(), self._service_s.get())

    def _reset_measurements(self) -> None:
        self.rtt_s = Ewma(MEASUREMENT_WEIGHT)
        self.jitter_s = Ewma(MEASUREMENT_WEIGHT)
        """Mean deviation of the round trips (RFC 6298)."""
        self.queue_s = Ewma(MEASUREMENT_WEIGHT)
        self.verify_s = Ewma(MEASUREMENT_WEIGHT)
        self.prefixes = AcceptedPrefixes()
        self.acceptance = Ewma(MEASUREMENT_WEIGHT)
        """accepted / proposed of this drafter's proposals, of all streams."""
        self._service_s = Ewma(MEASUREMENT_WEIGHT)
        self.tpot_s = DecayedMean(MEASUREMENT_WEIGHT)
        """Time per committed token of this drafter's streams, each from verdict to verdict."""
        self.queue_utilisation = 0.0
        """As Load.queue_utilisation; 0 before the first report."""
        self._load_at = None
        self._utilisation = 0.0
        self._num_others = 0  # streams of other drafters


class Reconnection:
    """When to dial a verifier again: with exponential backoff.

    After the first failure in a row there is no pause; each further failure doubles the pause. A link that was up for
    longer than the longest pause counts as a success: the next failure is a first one again.
    """

    def __init__(self, verifier: int, config: RetryConfig) -> None:
        self.dial: Dial | None = Dial(verifier, 0.0)
        """None while the link is up."""
        self._verifier = verifier
        self._config = config
        self._num_failures = 0
        self._up_since: float | None = None

    def on_up(self, now: float) -> None:
        """The verifier has sent its Welcome."""
        self._up_since = now
        self.dial = None

    def on_lost(self, now: float, rng: np.random.Generator) -> None:
        """The link was lost, or the attempt to connect has failed."""
        if self._up_since is not None and now - self._up_since > self._config.backoff_max_s:
            self._num_failures = 0
        self._up_since = None
        pause_s = backoff_s(self._config, self._num_failures - 1, rng) if self._num_failures else 0.0
        self._num_failures += 1
        self.dial = Dial(self._verifier, now + pause_s)


def backoff_s(config: RetryConfig, num_pauses: int, rng: np.random.Generator) -> float:
    """The pause that follows `num_pauses` earlier ones: doubled each time, with jitter so that drafters spread."""
    longest = min(config.backoff_max_s, config.backoff_s * 2.0 ** min(num_pauses, 32))
    return float(longest * rng.uniform(0.5, 1.0))
