"""A simulated drafter's links to verifiers: dialling, sending, telling the core; the one place that knows how."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.decisions import Decision, Dial, Disconnect, ToVerifier
from goodspeed.protocol.link_config import Outage
from goodspeed.protocol.messages import PROTOCOL_VERSION, FromDrafter, FromVerifier, Hello, Refused, Welcome
from goodspeed.simulator.kernel import Call, Kernel, Process, Signal, duration_ns, time_ns
from goodspeed.simulator.target import MODEL
from goodspeed.simulator.tracing import RequestTracer
from goodspeed.simulator.wire import Route, VerifierEnd, Wire

HANDSHAKE_BYTES = 60
"""Of each packet that opens a TCP connection."""

FindRoute = Callable[[int], tuple[VerifierEnd, Route]]
"""The verifier of this index in the drafter's list, and the way to it."""


class DrafterHost(Protocol):
    """The drafter's server."""

    @property
    def client(self) -> str:
        """The drafter's name."""

    def enqueue(self, decision: Decision) -> None:
        """Take a decision; `flush` carries it out."""

    def flush(self) -> None:
        """Draft, send and tell."""


class SimulatedUplink:
    """Keeps the sessions that the core wants, from `begin` on."""

    def __init__(self, kernel: Kernel, core: DrafterCore, find_route: FindRoute, tracer: RequestTracer) -> None:
        self.welcomed = Signal(kernel)
        """Fires at every Welcome."""
        self.tracer = tracer
        self.host: DrafterHost
        self._kernel = kernel
        self._core = core
        self._find_route = cache(find_route)
        self._sessions: dict[int, _SimulatedSession] = {}  # by verifier, from dialling on
        self._is_cut = False

    def start(self, host: DrafterHost) -> None:
        """Dial."""
        self.host = host
        self._dial()

    def send(self, messages: Sequence[ToVerifier]) -> None:
        """Messages for one verifier share a frame. What has no link is dropped: the core sees to it when it has one."""
        frames: dict[int, list[FromDrafter]] = {}
        for verifier, message in messages:
            frames.setdefault(verifier, []).append(message)
        for verifier, frame in frames.items():
            if session := self._sessions.get(verifier):
                session.send(frame)

    def disconnect(self, disconnect: Disconnect) -> None:
        """Close the connection, if there is one."""
        if session := self._sessions.get(disconnect.verifier):
            session.disconnect(disconnect.reason)

    def cut(self, outage: Outage) -> Process:
        """A process: the drafter's network is gone for a time, and with it every connection."""
        yield duration_ns(outage.start_s)
        self._is_cut = True
        for session in list(self._sessions.values()):
            session.disconnect("the network is gone")
        yield duration_ns(outage.duration_s)
        self._is_cut = False

    def on_up(self, verifier: int, welcome: Welcome) -> None:
        """For a session."""
        self.host.enqueue(self._core.on_link_up(verifier, welcome, self._kernel.now_s))
        self.welcomed.fire()

    def on_message(self, verifier: int, message: FromVerifier) -> None:
        """For a session."""
        self.host.enqueue(self._core.on_message(verifier, message, self._kernel.now_s))

    def on_closed(self, verifier: int, reason: str) -> None:
        """For a session: it is over, or never came about."""
        del self._sessions[verifier]
        self.host.enqueue(self._core.on_link_lost(verifier, reason, self._kernel.now_s))
        self.host.flush()
        self._dial()

    def _dial(self) -> None:
        for dial in self._core.dials:
            if dial.verifier not in self._sessions:
                session = self._sessions[dial.verifier] = _SimulatedSession(self, dial.verifier)
                self._kernel.start(self._open(session, dial))

    def _open(self, session: "_SimulatedSession", dial: Dial) -> Process:
        """When it is time, shake hands as TCP does, and introduce the drafter."""
        kernel = self._kernel
        yield max(0, time_ns(dial.at) - kernel.now_ns)
        verifier, route = self._find_route(dial.verifier)
        arrived = Signal(kernel)
        for path in (route.up, route.down):
            if not self._is_cut:
                path.send(HANDSHAKE_BYTES, Call(arrived.fire))
                yield arrived
        if self._is_cut:
            self.on_closed(dial.verifier, "there is no network")
        elif not verifier.is_up:
            self.on_closed(dial.verifier, "the verifier refuses the connection")
        else:
            session.start(Wire(route, (session, verifier), self.host.client, self.tracer))


class _SimulatedSession:
    """A wire's end at one verifier's place in the drafter's list."""

    __slots__ = ("_uplink", "_verifier", "_wire")

    def __init__(self, uplink: SimulatedUplink, verifier: int) -> None:
        self._uplink = uplink
        self._verifier = verifier
        self._wire: Wire | None = None

    def start(self, wire: Wire) -> None:
        self._wire = wire
        wire.send_up((Hello(PROTOCOL_VERSION, self._uplink.host.client, MODEL),))

    def send(self, messages: Sequence[FromDrafter]) -> None:
        if self._wire:
            self._wire.send_up(messages)

    def disconnect(self, reason: str) -> None:
        if self._wire:
            self._wire.lose(reason)

    def on_frame(self, messages: Sequence[FromVerifier]) -> None:
        for message in messages:
            if isinstance(message, Welcome):
                self._uplink.on_up(self._verifier, message)
            elif isinstance(message, Refused):
                self.disconnect(f"refused: {message.code.name}: {message.reason}")
                return
            else:
                self._uplink.on_message(self._verifier, message)
        self._uplink.host.flush()

    def on_lost(self, reason: str) -> None:
        self._uplink.on_closed(self._verifier, reason)
