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
from goodspeed.simulator.tracing import Trace
from goodspeed.simulator.wire import Route, VerifierEnd, Wire

HANDSHAKE_BYTES = 60
"""Of each packet that opens a TCP connection."""

FindWay = Callable[[int], tuple[VerifierEnd, Route]]
"""The verifier of this index in the drafter's list, and the way to it."""


class Host(Protocol):
    """The drafter's server."""

    @property
    def client(self) -> str:
        """The drafter's name."""

    def do(self, decision: Decision) -> None:
        """Take a decision; `settle` carries it out."""

    def settle(self) -> None:
        """Draft, send and tell."""


class Uplink:
    """Keeps the sessions that the core wants, from `begin` on."""

    def __init__(self, kernel: Kernel, core: DrafterCore, find_way: FindWay, trace: Trace) -> None:
        self.has_met = Signal(kernel)
        """Fires at every Welcome."""
        self.trace = trace
        self.host: Host
        self._kernel = kernel
        self._core = core
        self._find_way = cache(find_way)
        self._sessions: dict[int, _Session] = {}  # by verifier, from dialling on
        self._is_cut = False

    def begin(self, host: Host) -> None:
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

    def hang_up(self, hang_up: Disconnect) -> None:
        """Close the connection, if there is one."""
        if session := self._sessions.get(hang_up.verifier):
            session.hang_up(hang_up.reason)

    def cut(self, outage: Outage) -> Process:
        """A process: the drafter's network is gone for a time, and with it every connection."""
        yield duration_ns(outage.start_s)
        self._is_cut = True
        for session in list(self._sessions.values()):
            session.hang_up("the network is gone")
        yield duration_ns(outage.duration_s)
        self._is_cut = False

    def on_up(self, verifier: int, welcome: Welcome) -> None:
        """For a session."""
        self.host.do(self._core.on_link_up(verifier, welcome, self._kernel.now_s))
        self.has_met.fire()

    def on_message(self, verifier: int, message: FromVerifier) -> None:
        """For a session."""
        self.host.do(self._core.on_message(verifier, message, self._kernel.now_s))

    def on_ended(self, verifier: int, reason: str) -> None:
        """For a session: it is over, or never came about."""
        del self._sessions[verifier]
        self.host.do(self._core.on_link_lost(verifier, reason, self._kernel.now_s))
        self.host.settle()
        self._dial()

    def _dial(self) -> None:
        for dial in self._core.dials:
            if dial.verifier not in self._sessions:
                session = self._sessions[dial.verifier] = _Session(self, dial.verifier)
                self._kernel.start(self._open(session, dial))

    def _open(self, session: "_Session", dial: Dial) -> Process:
        """When it is time, shake hands as TCP does, and introduce the drafter."""
        kernel = self._kernel
        yield max(0, time_ns(dial.at) - kernel.now_ns)
        verifier, route = self._find_way(dial.verifier)
        arrived = Signal(kernel)
        for lane in (route.up, route.down):
            if not self._is_cut:
                lane.send(HANDSHAKE_BYTES, Call(arrived.fire))
                yield arrived
        if self._is_cut:
            self.on_ended(dial.verifier, "there is no network")
        elif not verifier.is_up:
            self.on_ended(dial.verifier, "the verifier refuses the connection")
        else:
            session.begin(Wire(route, (session, verifier), self.host.client, self.trace))


class _Session:
    """A wire's end at one verifier's place in the drafter's list."""

    __slots__ = ("_uplink", "_verifier", "_wire")

    def __init__(self, uplink: Uplink, verifier: int) -> None:
        self._uplink = uplink
        self._verifier = verifier
        self._wire: Wire | None = None

    def begin(self, wire: Wire) -> None:
        self._wire = wire
        wire.send_up((Hello(PROTOCOL_VERSION, self._uplink.host.client, MODEL),))

    def send(self, messages: Sequence[FromDrafter]) -> None:
        if self._wire:
            self._wire.send_up(messages)

    def hang_up(self, reason: str) -> None:
        if self._wire:
            self._wire.lose(reason)

    def on_frame(self, messages: Sequence[FromVerifier]) -> None:
        for message in messages:
            if isinstance(message, Welcome):
                self._uplink.on_up(self._verifier, message)
            elif isinstance(message, Refused):
                self.hang_up(f"refused: {message.code.name}: {message.reason}")
                return
            else:
                self._uplink.on_message(self._verifier, message)
        self._uplink.host.settle()

    def on_lost(self, reason: str) -> None:
        self._uplink.on_ended(self._verifier, reason)
