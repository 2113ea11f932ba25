"""The network between a drafter and a verifier: a route of emulated links, and the connections over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.protocol.messages import FromDrafter, FromVerifier, Message
from goodspeed.protocol.size import frame_bytes, wire_bytes
from goodspeed.simulator.kernel import Event, Kernel, time_ns
from goodspeed.simulator.tracing import RequestTracer


class ByteMeter:
    """Counts the bytes that all senders send in one direction, with frame prefixes and headers."""

    __slots__ = ("num_bytes",)

    def __init__(self) -> None:
        self.num_bytes = 0


class NetworkPath(Protocol):
    """One direction of a route."""

    def send(self, num_bytes: int, arrival: Event) -> int:
        """Send a frame; `arrival` happens when it arrives. Returns that time in nanoseconds."""


class EmulatedPath:
    """A network path over one or more links in series, a shared link first."""

    __slots__ = ("_first", "_kernel", "_meter", "_others")

    def __init__(self, kernel: Kernel, links: Sequence[LinkShaper], meter: ByteMeter) -> None:
        self._kernel = kernel
        self._first, self._others = links[0], tuple(links[1:])
        self._meter = meter

    def send(self, num_bytes: int, arrival: Event) -> int:
        self._meter.num_bytes += num_bytes
        arrives_at = self._first.delivery(num_bytes, self._kernel.now_s)
        for link in self._others:
            arrives_at = link.delivery(num_bytes, arrives_at)
        arrives_ns = time_ns(arrives_at)
        self._kernel.put(arrives_ns, arrival)
        return arrives_ns


@dataclass(frozen=True, slots=True)
class Route:
    """Both network paths between a drafter and a verifier. A route outlives the connections over it."""

    up: NetworkPath
    down: NetworkPath


class DrafterEnd(Protocol):
    """The drafter's end of a connection."""

    def on_frame(self, messages: Sequence[FromVerifier]) -> None:
        """A frame of the verifier's messages has arrived."""

    def on_lost(self, reason: str) -> None:
        """The connection is lost."""


class VerifierEnd(Protocol):
    """The verifier's end of a connection."""

    @property
    def is_up(self) -> bool:
        """Whether the verifier accepts connections."""

    def on_connect(self, wire: "Wire") -> int:
        """Accept a connection; returns its id."""

    def on_frame(self, conn: int, messages: Sequence[FromDrafter]) -> None:
        """A frame of the drafter's messages has arrived."""

    def on_lost(self, conn: int) -> None:
        """The connection is lost."""


class Wire:
    """One connection. Frames keep their order; frames in flight are lost with the connection."""

    __slots__ = ("_client", "_conn", "_drafter", "_route", "_tracer", "_verifier", "is_lost")

    def __init__(self, route: Route, ends: tuple[DrafterEnd, VerifierEnd], client: str, tracer: RequestTracer) -> None:
        self.is_lost = False
        self._route = route
        self._drafter, self._verifier = ends
        self._client = client
        self._tracer = tracer
        self._conn: int | None = None  # the verifier's id; None until the first frame has arrived

    def send_up(self, messages: Sequence[FromDrafter]) -> None:
        """Send the drafter's messages in one frame."""
        arrives_ns = self._route.up.send(_num_bytes(messages), _FrameUp(self, messages))
        if self._tracer.is_on:
            self._tracer.on_sent_up(self._client, messages, arrives_ns)

    def send_down(self, messages: Sequence[FromVerifier]) -> None:
        """Send the verifier's messages in one frame."""
        arrives_ns = self._route.down.send(_num_bytes(messages), _FrameDown(self, messages))
        if self._tracer.is_on:
            self._tracer.on_sent_down(self._client, messages, arrives_ns)

    def lose(self, reason: str) -> None:
        """Lose the connection; both ends are notified at once."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._conn is not None:
            self._verifier.on_lost(self._conn)
        self._drafter.on_lost(reason)

    def arrive_up(self, messages: Sequence[FromDrafter]) -> None:
        """Called by a frame when it arrives at the verifier."""
        if self.is_lost:
            return
        if self._conn is None:
            if not self._verifier.is_up:
                self.lose("the verifier is down")
                return
            self._conn = self._verifier.on_connect(self)
        self._verifier.on_frame(self._conn, messages)

    def arrive_down(self, messages: Sequence[FromVerifier]) -> None:
        """Called by a frame when it arrives at the drafter."""
        if not self.is_lost:
            self._drafter.on_frame(messages)


class _FrameUp(Event):
    """The arrival of a drafter's messages."""

    __slots__ = ("_messages", "_wire")

    def __init__(self, wire: Wire, messages: Sequence[FromDrafter]) -> None:
        super().__init__()
        self._wire = wire
        self._messages = messages

    def happen(self) -> None:
        self._wire.arrive_up(self._messages)


class _FrameDown(Event):
    """The arrival of a verifier's messages."""

    __slots__ = ("_messages", "_wire")

    def __init__(self, wire: Wire, messages: Sequence[FromVerifier]) -> None:
        super().__init__()
        self._wire = wire
        self._messages = messages

    def happen(self) -> None:
        self._wire.arrive_down(self._messages)


def _num_bytes(messages: Sequence[Message]) -> int:
    return wire_bytes(sum([frame_bytes(message) for message in messages]))
