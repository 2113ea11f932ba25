"""A simulated drafter's links to verifiers: dialling, and telling the core, in the one place that knows how."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Protocol

from goodspeed.drafter.core.core import DrafterCore
from goodspeed.drafter.core.decision import Decision
from goodspeed.protocol.link import Outage
from goodspeed.protocol.messages import PROTOCOL_VERSION, FromDrafter, FromVerifier, Hello, Refused, Welcome
from goodspeed.simulator.kernel import Kernel, Process, Signal, duration_ns, time_ns
from goodspeed.simulator.tracing import Trace
from goodspeed.simulator.wire import Route, VerifierEnd, Wire

HANDSHAKE_BYTES = 60
"""Of each packet that opens a TCP connection."""


FindWay = Callable[[int], tuple[VerifierEnd, Route]]
"""The verifier of this index in the drafter's list, and a new way to it."""


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
    """A session at one verifier at a time. `run` is its process."""

    def __init__(self, kernel: Kernel, core: DrafterCore, find_way: FindWay, trace: Trace) -> None:
        self.has_met = Signal(kernel)
        """Fires at every Welcome."""
        self._kernel = kernel
        self._core = core
        self._find_way = cache(find_way)
        self._is_cut = False
        self._trace = trace
        self._host: Host
        self._wire: Wire | None = None
        self._is_over = Signal(kernel)  # the connection, or the attempt to make one

    @property
    def verifier(self) -> str:
        """The present one, or the last."""
        return self._core.welcome.verifier if self._core.welcome else ""

    def run(self, host: Host) -> Process:
        """Keep a session with some verifier."""
        self._host = host
        while True:
            next_dial = self._core.next_dial
            if next_dial.at > self._kernel.now_s:
                yield time_ns(next_dial.at) - self._kernel.now_ns
            verifier, route = self._find_way(next_dial.verifier)
            yield from self._shake_hands(route)
            if self._is_cut:
                self._tell_lost("there is no network")
                continue
            self._wire = Wire(route, (self, verifier), host.client, self._trace)
            self._wire.send_up((Hello(PROTOCOL_VERSION, host.client, "simulated"),))
            yield self._is_over

    def send(self, messages: Sequence[FromDrafter]) -> None:
        """Dropped without a link: the core sends again what matters when there is one."""
        if self._wire:
            self._wire.send_up(messages)

    def hang_up(self, reason: str) -> None:
        """Close the connection, if there is one."""
        if self._wire:
            self._wire.lose(reason)

    def cut(self, outage: Outage) -> Process:
        """The drafter's network will be gone for a time: another process."""
        yield duration_ns(outage.start_s)
        self._is_cut = True
        self.hang_up("the network is gone")
        yield duration_ns(outage.duration_s)
        self._is_cut = False

    def on_frame(self, wire: Wire, messages: Sequence[FromVerifier]) -> None:
        now_s = self._kernel.now_s
        for message in messages:
            if isinstance(message, Welcome):
                self._host.do(self._core.on_link_up(message, now_s))
                self.has_met.fire()
            elif isinstance(message, Refused):
                wire.lose(f"refused: {message.code.name}: {message.reason}")
                return
            else:
                self._host.do(self._core.on_message(message, now_s))
        self._host.settle()

    def on_lost(self, wire: Wire, reason: str) -> None:
        del wire
        self._wire = None
        self._tell_lost(reason)
        self._is_over.fire()

    def _shake_hands(self, route: Route) -> Process:
        arrived = Signal(self._kernel)
        for lane in (route.up, route.down):
            if not self._is_cut:
                lane.send(HANDSHAKE_BYTES, arrived.fire)
                yield arrived

    def _tell_lost(self, reason: str) -> None:
        self._host.do(self._core.on_link_lost(reason, self._kernel.now_s))
        self._host.settle()
