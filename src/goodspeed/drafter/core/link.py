"""What a drafter knows of one verifier."""

from typing import Final

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.reconnection import Reconnection
from goodspeed.protocol.messages import Load, Welcome
from goodspeed.routing.routing_policy import VerifierView
from goodspeed.stats.ewma import Ewma

MEASUREMENT_WEIGHT: Final = 0.2
"""Weight of the latest measurement."""


class VerifierLink:
    """The link to one verifier, or the lack of one; what is measured begins anew with every link."""

    def __init__(self, index: int, config: RetryConfig) -> None:
        self.index = index
        self.is_up = False
        """It may be used: it is there, and nothing speaks for closing it."""
        self.welcome: Welcome | None = None
        """Of this link or, when there is none, of the last one."""
        self.dialling = Reconnection(index, config)
        self.num_streams = 0
        """This drafter's own streams that the verifier knows of."""
        self._forget()

    @property
    def has_room(self) -> bool:
        """It is up, and may be given one more stream."""
        return self.is_up and self.welcome is not None and self.num_streams < self.welcome.max_streams

    @property
    def depth(self) -> int:
        """Streams at the verifier: what was reported, less what was this drafter's own then, and its own now."""
        return self._num_others + self.num_streams

    def on_up(self, welcome: Welcome, now: float) -> None:
        self.is_up = True
        self.welcome = welcome
        self.dialling.on_up(now)
        self._forget()

    def on_load(self, load: Load) -> None:
        self._utilisation = load.kv_used / load.kv_capacity if load.kv_capacity else 0.0
        self._num_others = max(0, load.open_streams + load.queued_streams - self.num_streams)

    def on_verdict(self, queue_s: float, verify_s: float) -> None:
        self.queue_s.observe(queue_s)
        self.verify_s.observe(verify_s)
        self._service_s.observe((queue_s + verify_s) / max(1, self.depth))

    def view(self) -> VerifierView:
        """For the routing policy."""
        return VerifierView(self.index, self.depth, self._utilisation, self.rtt_s.get(), self._service_s.get())

    def _forget(self) -> None:
        self.rtt_s = Ewma(MEASUREMENT_WEIGHT)
        self.queue_s = Ewma(MEASUREMENT_WEIGHT)
        self.verify_s = Ewma(MEASUREMENT_WEIGHT)
        self._service_s = Ewma(MEASUREMENT_WEIGHT)
        self._utilisation = 0.0
        self._num_others = 0  # streams of other drafters, as far as it has been told
