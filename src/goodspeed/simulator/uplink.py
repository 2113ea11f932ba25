"""A simulated drafter's connections to verifiers: it opens them, sends over them, and notifies the core."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.link import Dial
from goodspeed.drafter.core.outbox import Disconnect, ToVerifier
from goodspeed.protocol.link_config import Outage
from goodspeed.protocol.messages import PROTOCOL_VERSION, FromDrafter, FromVerifier, Hello, Refused, Welcome
from goodspeed.simulator.kernel import Call, Kernel, Process, Signal, duration_ns, time_ns
from goodspeed.simulator.target import MODEL
from goodspeed.simulator.tracing import RequestTracer
from goodspeed.simulator.wire import Route, VerifierEnd, Wire

HANDSHAKE_BYTES = 60
"""Size of each packet of the TCP handshake."""

FindRoute = Callable[[int], tuple[VerifierEnd, Route]]
"""Returns the verifier of this index in the drafter's list, and the route to it."""


class DrafterHost(Protocol):
    """The server that runs the drafter core."""

    @property
    def client(self) -> str:
        """The drafter's name."""

    def flush(self) -> None:
        """Draft, send messages and deliver stream events, as the core has decided."""


class SimulatedUplink:
    """Keeps the sessions that the core wants, from `start` on."""

    def __init__(self, kernel: Kernel, core: DrafterCore, find_route: FindRoute, tracer: RequestTracer) -> None:
        self.welcomed = Signal(kernel)
        """Fires at every Welcome."""
        self.tracer = tracer
        self.host: DrafterHost
        self._kernel = kernel
        self._core = core
        self._find_route = cache(find_route)
        self._sessions: dict[
            int, _SimulatedSession
        ] = {}  # by verifier; a session exists from the start of its connection attempt
        self._is_network_down = False

    def start(self, host: DrafterHost) -> None:
        """Open the connections."""
        self.host = host
        self._connect()

    def send(self, messages: Sequence[ToVerifier]) -> None:
        """Send one frame per verifier. Messages without a session are dropped; the core repeats them later."""
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
        """A process: the drafter has no network during the outage, and loses all connections."""
        yield duration_ns(outage.start_s)
        self._is_network_down = True
        for session in list(self._sessions.values()):
            session.disconnect("the network is down")
        yield duration_ns(outage.duration_s)
        self._is_network_down = False

    def on_welcome(self, verifier: int, welcome: Welcome) -> None:
        """Called by a session."""
        self._core.on_link_up(verifier, welcome, self._kernel.now_s)
        self.welcomed.fire()

    def on_message(self, verifier: int, message: FromVerifier) -> None:
        """Called by a session."""
        self._core.on_message(verifier, message, self._kernel.now_s)

    def on_closed(self, verifier: int, reason: str) -> None:
        """Called by a session that has ended, or could not be opened."""
        del self._sessions[verifier]
        self._core.on_link_lost(verifier, reason, self._kernel.now_s)
        self.host.flush()
        self._connect()

    def _connect(self) -> None:
        for dial in self._core.dials:
            if dial.verifier not in self._sessions:
                session = self._sessions[dial.verifier] = _SimulatedSession(self, dial.verifier)
                self._kernel.start(self._open(session, dial))

    def _open(self, session: "_SimulatedSession", dial: Dial) -> Process:
        """A process: wait for the backoff, do the TCP handshake, and send Hello."""
        kernel = self._kernel
        yield max(0, time_ns(dial.at) - kernel.now_ns)
        verifier, route = self._find_route(dial.verifier)
        arrived = Signal(kernel)
        for path in (route.up, route.down):
            if not self._is_network_down:
                path.send(HANDSHAKE_BYTES, Call(arrived.fire))
                yield arrived
        if self._is_network_down:
            self.on_closed(dial.verifier, "there is no network")
        elif not verifier.is_up:
            self.on_closed(dial.verifier, "the verifier refuses the connection")
        else:
            session.start(Wire(route, (session, verifier), self.host.client, self.tracer))


class _SimulatedSession:
    """The drafter's end of a connection to one verifier."""

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
                self._uplink.on_welcome(self._verifier, message)
            elif isinstance(message, Refused):
                self.disconnect(f"refused: {message.code.name}: {message.reason}")
                return
            else:
                self._uplink.on_message(self._verifier, message)
        self._uplink.host.flush()

    def on_lost(self, reason: str) -> None:
        self._uplink.on_closed(self._verifier, reason)
