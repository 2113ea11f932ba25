"""A verification server in virtual time: the live core, an engine whose steps take their time, and wires."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from goodspeed.protocol.messages import FromDrafter, FromVerifier
from goodspeed.simulator.kernel import Kernel, Process, Signal, duration_ns, time_ns
from goodspeed.simulator.outage import VerifierOutage
from goodspeed.simulator.placement import CpuSlot
from goodspeed.simulator.result import VerifierRecord
from goodspeed.simulator.target import SimulatedTargetEngine
from goodspeed.simulator.wire import Wire
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.message_handler import Reply
from goodspeed.verifier.event_logging import LoggedVerifierCore

NewCore = Callable[[], VerifierCore | LoggedVerifierCore]
"""A server's core, as it is when it starts."""


@dataclass(frozen=True, slots=True)
class VerifierIdentity:
    """Which of the scenario's verifiers it is."""

    number: int  # of all
    tier: str
    name: str
    slot: CpuSlot


class SimulatedVerifier:
    """Hosts a core as VerifierServer does. `run` is its process; `fail` another, for each time that it dies."""

    def __init__(
        self, kernel: Kernel, place: VerifierIdentity, new_core: NewCore, engine: SimulatedTargetEngine
    ) -> None:
        self.place = place
        self.is_up = True
        self._engine = engine
        self._kernel = kernel
        self._new_core = new_core
        self._core = new_core()
        self._num_deaths = 0
        self._wires: dict[int, Wire] = {}
        self._conns = itertools.count(1)
        self._woken = Signal(kernel)
        self._free_at_s = 0.0  # when the engine ended its last step

    @property
    def max_tokens(self) -> int:
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
        if self._wires.pop(conn, None):
            self._deliver(self._core.on_disconnect(conn, self._kernel.now_s))
            self._woken.fire()

    def run(self) -> Process:
        """Batch after batch, until it dies."""
        life = self._num_deaths
        while self._num_deaths == life:
            batch = self._core.next_batch(self._kernel.now_s)
            if batch is None:
                yield from self._wait(life)
            else:
                yield from self._step(batch, life)

    def fail(self, outage: VerifierOutage) -> Process:
        """Die as a process dies, with all that it knew and without a word; after a time another starts in its place."""
        yield duration_ns(outage.start_s)
        self._die()
        yield duration_ns(outage.duration_s)
        self._start_again()

    def _die(self) -> None:
        self.is_up = False
        self._num_deaths += 1
        self._engine.forget()
        wires, self._wires = self._wires, {}  # first: a dead core is told of no loss
        for wire in wires.values():
            wire.lose("the verifier is gone")
        self._woken.fire()

    def _start_again(self) -> None:
        self.is_up = True
        self._core = self._new_core()
        self._conns = itertools.count(1)
        self._free_at_s = self._kernel.now_s
        self._kernel.start(self.run())

    def _step(self, batch: Batch, life: int) -> Process:
        yield from self._handle_batch()
        if self._num_deaths != life:
            return
        engine, started = self._engine, self._kernel.now_s
        for key in batch.closed:
            engine.close(key)
        for key, spec in batch.opened:
            engine.open(key, spec)
        outcomes = []
        if batch.work:
            engine.pause_s = started - self._free_at_s
            outcomes = engine.step(batch.work)
            yield self.place.slot.run_step(engine.step_s)
            ended_s = self._kernel.now_s
            yield from self._take_turn()
            if self._num_deaths != life:
                return
            self._free_at_s = ended_s
        replies = self._core.on_verified(batch, outcomes, started, self._kernel.now_s)
        yield from self._handle_batch()
        if self._num_deaths == life:
            self._deliver(replies)

    def _wait(self, life: int) -> Process:
        """Until something has happened, or the core is due."""
        wake_at = self._core.wake_at()
        if wake_at is None:
            yield self._woken
            yield from self._take_turn()
            return
        now_ns = self._kernel.now_ns
        wait_ns = max(0, time_ns(wake_at) - now_ns)
        late_ns = self.place.slot.timer_delay_ns(wait_ns) if wait_ns else 0
        alarm = self._kernel.at(now_ns + wait_ns + late_ns, self._woken.fire)
        yield self._woken
        alarm.cancel()
        yield from self._take_turn()
        if self._num_deaths == life and self._kernel.now_s >= wake_at:
            self._deliver(self._core.on_time(self._kernel.now_s))

    def _handle_batch(self) -> Process:
        """Its event loop closes one, or takes its results, after what it was given before."""
        if done := self.place.slot.handle_batch():
            yield done

    def _take_turn(self) -> Process:
        """What its event loop was given before comes first: so frames that have arrived are in the next batch."""
        if turn := self.place.slot.drain():
            yield turn

    def _deliver(self, replies: Sequence[Reply]) -> None:
        """Messages for one link share a frame."""
        frames: dict[int, list[FromVerifier]] = {}
        for conn, message in replies:
            frames.setdefault(conn, []).append(cast(FromVerifier, message))
        for conn, messages in frames.items():
            if wire := self._wires.get(conn):
                wire.send_down(messages)
