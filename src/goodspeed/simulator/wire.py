"""What connects a drafter and a verifier: a route of emulated links, and on it one connection after the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from goodspeed.protocol.link_shaper import LinkShaper
from goodspeed.protocol.messages import FromDrafter, FromVerifier, Message
from goodspeed.protocol.size import frame_bytes, wire_bytes
from goodspeed.simulator.kernel import Event, Kernel, time_ns
from goodspeed.simulator.tracing import RequestTracer


class ByteMeter:
    """Bytes sent one way, by everybody: frames with their prefixes and headers."""

    __slots__ = ("num_bytes",)

    def __init__(self) -> None:
        self.num_bytes = 0


class NetworkPath(Protocol):
    """One direction of a route."""

    def send(self, num_bytes: int, arrival: Event) -> int:
        """Returns when they arrive, in nanoseconds."""


class EmulatedPath:
    """One way of a route: links that bytes pass one after the other, a shared one first."""

    __slots__ = ("_first", "_kernel", "_meter", "_others")

    def __init__(self, kernel: Kernel, links: Sequence[LinkShaper], meter: ByteMeter) -> None:
        self._kernel = kernel
        self._first, self._others = links[0], tuple(links[1:])
        self._meter = meter

    def send(self, num_bytes: int, arrival: Event) -> int:
        """Returns when they arrive, in nanoseconds."""
        self._meter.num_bytes += num_bytes
        arrives_at = self._first.delivery(num_bytes, self._kernel.now_s)
        for link in self._others:
            arrives_at = link.delivery(num_bytes, arrives_at)
        arrives_ns = time_ns(arrives_at)
        self._kernel.put(arrives_ns, arrival)
        return arrives_ns


@dataclass(frozen=True, slots=True)
class Route:
    """The way between a drafter and a verifier, whether there is a connection or not."""

    up: NetworkPath
    down: NetworkPath


class DrafterEnd(Protocol):
    """What a wire wants of a drafter."""

    def on_frame(self, messages: Sequence[FromVerifier]) -> None:
        """The verifier's messages have arrived together."""

    def on_lost(self, reason: str) -> None:
        """The connection is gone."""


class VerifierEnd(Protocol):
    """What a wire wants of a verifier."""

    @property
    def is_up(self) -> bool:
        """Somebody listens there."""

    def on_connect(self, wire: "Wire") -> int:
        """The connection's id there."""

    def on_frame(self, conn: int, messages: Sequence[FromDrafter]) -> None:
        """A drafter's messages have arrived together."""

    def on_lost(self, conn: int) -> None:
        """The connection is gone."""


class Wire:
    """One connection. Frames keep their order; with the connection everything under way is lost."""

    __slots__ = ("_client", "_conn", "_drafter", "_route", "_tracer", "_verifier", "is_lost")

    def __init__(self, route: Route, ends: tuple[DrafterEnd, VerifierEnd], client: str, tracer: RequestTracer) -> None:
        self.is_lost = False
        self._route = route
        self._drafter, self._verifier = ends
        self._client = client
        self._tracer = tracer
        self._conn: int | None = None  # until the first frame has arrived

    def send_up(self, messages: Sequence[FromDrafter]) -> None:
        """The drafter's messages, in one frame."""
        arrives_ns = self._route.up.send(_num_bytes(messages), _FrameUp(self, messages))
        if self._tracer.is_on:
            self._tracer.on_sent_up(self._client, messages, arrives_ns)

    def send_down(self, messages: Sequence[FromVerifier]) -> None:
        """The verifier's messages, in one frame."""
        arrives_ns = self._route.down.send(_num_bytes(messages), _FrameDown(self, messages))
        if self._tracer.is_on:
            self._tracer.on_sent_down(self._client, messages, arrives_ns)

    def lose(self, reason: str) -> None:
        """Both ends hear of it at once."""
        if self.is_lost:
            return
        self.is_lost = True
        if self._conn is not None:
            self._verifier.on_lost(self._conn)
        self._drafter.on_lost(reason)

    def arrive_up(self, messages: Sequence[FromDrafter]) -> None:
        """For a frame."""
        if self.is_lost:
            return
        if self._conn is None:
            if not self._verifier.is_up:
                self.lose("the verifier is gone")
                return
            self._conn = self._verifier.on_connect(self)
        self._verifier.on_frame(self._conn, messages)

    def arrive_down(self, messages: Sequence[FromVerifier]) -> None:
        """For a frame."""
        if not self.is_lost:
            self._drafter.on_frame(messages)


class _FrameUp(Event):
    """A drafter's messages arrive."""

    __slots__ = ("_messages", "_wire")

    def __init__(self, wire: Wire, messages: Sequence[FromDrafter]) -> None:
        super().__init__()
        self._wire = wire
        self._messages = messages

    def happen(self) -> None:
        self._wire.arrive_up(self._messages)


class _FrameDown(Event):
    """A verifier's messages arrive."""

    __slots__ = ("_messages", "_wire")

    def __init__(self, wire: Wire, messages: Sequence[FromVerifier]) -> None:
        super().__init__()
        self._wire = wire
        self._messages = messages

    def happen(self) -> None:
        self._wire.arrive_down(self._messages)


def _num_bytes(messages: Sequence[Message]) -> int:
    return wire_bytes(sum([frame_bytes(message) for message in messages]))
