"""A verification server in virtual time: the live core, an engine whose steps take their time, and wires."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from goodspeed.protocol.messages import FromDrafter, FromVerifier
from goodspeed.simulator.hosting import Seat
from goodspeed.simulator.kernel import Kernel, Process, Signal, time_ns
from goodspeed.simulator.result import VerifierRecord
from goodspeed.simulator.target import TapedTarget
from goodspeed.simulator.wire import Wire
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.intake import Reply
from goodspeed.verifier.recording import RecordedCore


@dataclass(frozen=True, slots=True)
class Place:
    """Which of the scenario's verifiers it is."""

    number: int  # of all
    tier: str
    name: str
    seat: Seat


class SimulatedVerifier:
    """Hosts a core as VerifierServer does. `run` is its process."""

    def __init__(self, kernel: Kernel, place: Place, core: VerifierCore | RecordedCore, engine: TapedTarget) -> None:
        self.place = place
        self._engine = engine
        self._kernel = kernel
        self._core = core
        self._wires: dict[int, Wire] = {}
        self._conns = itertools.count(1)
        self._woken = Signal(kernel)
        self._free_at_s = 0.0  # when the engine ended its last step

    @property
    def most_tokens(self) -> int:
        """Of one stream, prompt and answer."""
        info = self._engine.info
        return min(info.max_context, info.kv_capacity)

    def record(self) -> VerifierRecord:
        """What it did so far."""
        engine = self._engine
        return VerifierRecord(
            self.place.name, engine.num_steps, engine.num_tokens, engine.busy_s, engine.peak_kv_tokens
        )

    def on_connect(self, wire: Wire) -> int:
        conn = next(self._conns)
        self._wires[conn] = wire
        self._core.on_connect(conn, self._kernel.now_s)
        return conn

    def on_frame(self, conn: int, messages: Sequence[FromDrafter]) -> None:
        for message in messages:
            self._deliver(self._core.on_message(conn, message, self._kernel.now_s))
        self._woken.fire()

    def on_lost(self, conn: int) -> None:
        del self._wires[conn]
        self._deliver(self._core.on_disconnect(conn, self._kernel.now_s))
        self._woken.fire()

    def run(self) -> Process:
        """Batch after batch."""
        while True:
            batch = self._core.next_batch(self._kernel.now_s)
            if batch is None:
                yield from self._wait()
            else:
                yield from self._step(batch)

    def _step(self, batch: Batch) -> Process:
        engine, started = self._engine, self._kernel.now_s
        for key in batch.closed:
            engine.close(key)
        for key, spec in batch.opened:
            engine.open(key, spec)
        outcomes = []
        if batch.work:
            engine.pause_s = started - self._free_at_s
            outcomes = engine.step(batch.work)
            yield self.place.seat.step(engine.step_s)
            self._free_at_s = self._kernel.now_s
            yield from self._take_turn()
        self._deliver(self._core.on_verified(batch, outcomes, started, self._kernel.now_s))

    def _wait(self) -> Process:
        """Until something has happened, or the core is due."""
        wake_at = self._core.wake_at()
        if wake_at is None:
            yield self._woken
            yield from self._take_turn()
            return
        now_ns, due_ns = self._kernel.now_ns, time_ns(wake_at)
        alarm = self._kernel.at(due_ns + self.place.seat.late_ns if due_ns > now_ns else now_ns, self._woken.fire)
        yield self._woken
        alarm.cancel()
        yield from self._take_turn()
        if self._kernel.now_s >= wake_at:
            self._deliver(self._core.on_time(self._kernel.now_s))

    def _take_turn(self) -> Process:
        """What its event loop was given before comes first: so frames that have arrived are in the next batch."""
        if turn := self.place.seat.turn():
            yield turn

    def _deliver(self, replies: Sequence[Reply]) -> None:
        """Messages for one link share a frame."""
        frames: dict[int, list[FromVerifier]] = {}
        for conn, message in replies:
            frames.setdefault(conn, []).append(cast(FromVerifier, message))
        for conn, messages in frames.items():
            if wire := self._wires.get(conn):
                wire.send_down(messages)
