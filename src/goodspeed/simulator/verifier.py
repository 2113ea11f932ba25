"""A verifier server in virtual time: the live core, an engine whose steps take time, and connections."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

from goodspeed.protocol.messages import FromDrafter, FromVerifier
from goodspeed.simulator.co_located import SimulatedCoLocatedDrafts
from goodspeed.simulator.kernel import Kernel, Process, Signal, duration_ns, time_ns
from goodspeed.simulator.outage import VerifierOutage
from goodspeed.simulator.placement import CpuSlot
from goodspeed.simulator.result import VerifierRecord
from goodspeed.simulator.target import SimulatedTargetEngine
from goodspeed.simulator.wire import Wire
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.core import VerifierCore
from goodspeed.verifier.core.outbox import Reply
from goodspeed.verifier.event_logging import LoggedVerifierCore
from goodspeed.verifier.step import run_batch

NewCore = Callable[[], VerifierCore | LoggedVerifierCore]
"""Makes the core of a server that starts."""


@dataclass(frozen=True, slots=True)
class SimulatedEngines:
    """What a simulated verifier computes with."""

    target: SimulatedTargetEngine
    co_located: SimulatedCoLocatedDrafts | None  # None: no drafter expects any


@dataclass(frozen=True, slots=True)
class VerifierIdentity:
    """One of the scenario's verifiers."""

    number: int  # index among all verifiers of the scenario
    tier: str
    name: str
    slot: CpuSlot


class SimulatedVerifier:
    """Runs a verifier core as VerifierServer does. `run` is its process; `fail` is one process per outage."""

    def __init__(
        self, kernel: Kernel, identity: VerifierIdentity, new_core: NewCore, engines: SimulatedEngines
    ) -> None:
        self.identity = identity
        self.is_up = True
        self._engine = engines.target
        self._co_located = engines.co_located
        self._kernel = kernel
        self._new_core = new_core
        self._core = new_core()
        self._num_outages = 0
        self._wires: dict[int, Wire] = {}
        self._conns = itertools.count(1)
        self._woken = Signal(kernel)
        self._idle_since_s = 0.0  # when the engine finished its last step
        self._busy_s = 0.0  # in steps that have ended
        self._busy_since_s: float | None = None  # None: no step is running

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of one stream, prompt and answer."""
        info = self._engine.info
        return min(info.max_context, info.kv_capacity)

    def record(self) -> VerifierRecord:
        """The verifier's work so far."""
        engine, busy_s = self._engine, self._busy_s
        if self._busy_since_s is not None:
            busy_s += self._kernel.now_s - self._busy_since_s
        stats = self._core.stats()
        return VerifierRecord(
            self.identity.name,
            engine.num_steps,
            engine.num_tokens,
            busy_s,
            engine.peak_kv_tokens,
            stats.memory.num_preemptions,
            stats.prefix_cache.num_evictions,
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
        """A process: verify batch after batch until the next outage."""
        num_outages = self._num_outages
        while self._num_outages == num_outages:
            batch = self._core.next_batch(self._kernel.now_s)
            if batch is None:
                yield from self._wait(num_outages)
            else:
                yield from self._step(batch, num_outages)

    def fail(self, outage: VerifierOutage) -> Process:
        """A process: the server crashes without a message and loses its state; a new one starts after the outage."""
        yield duration_ns(outage.start_s)
        self._crash()
        yield duration_ns(outage.duration_s)
        self._restart()

    def _crash(self) -> None:
        self.is_up = False
        self._num_outages += 1
        self._end_step()
        self._engine.drop_streams()
        if self._co_located:
            self._co_located.drop_streams()
        wires, self._wires = self._wires, {}  # first: the old core is not notified of the losses
        for wire in wires.values():
            wire.lose("the verifier is down")
        self._woken.fire()

    def _restart(self) -> None:
        self.is_up = True
        self._core = self._new_core()
        self._conns = itertools.count(1)
        self._idle_since_s = self._kernel.now_s
        self._kernel.start(self.run())

    def _step(self, batch: Batch, num_outages: int) -> Process:
        yield from self._handle_batch()
        if self._num_outages != num_outages:
            return
        engine, started = self._engine, self._kernel.now_s
        engine.idle_s = started - self._idle_since_s
        result = run_batch(engine, batch, self._co_located, self._drafting_clock)
        if batch.has_step:
            self._busy_since_s = started
            yield self.identity.slot.run_step(result.drafting_s + engine.step_s)
            ended_s = self._kernel.now_s
            if self._num_outages == num_outages:
                self._end_step()
            yield from self._drain()
            if self._num_outages != num_outages:
                return
            self._idle_since_s = ended_s
        replies = self._core.on_verified(batch, result, started, self._kernel.now_s)
        yield from self._handle_batch()
        if self._num_outages == num_outages:
            self._deliver(replies)

    def _end_step(self) -> None:
        """The running step, if there is one, ends now."""
        if self._busy_since_s is not None:
            self._busy_s += self._kernel.now_s - self._busy_since_s
            self._busy_since_s = None

    def _drafting_clock(self) -> float:
        """Seconds of co-located drafting since the start."""
        return self._co_located.drafting_s if self._co_located else 0.0

    def _wait(self, num_outages: int) -> Process:
        """Wait for a message or a lost connection, or for the core's next wake-up."""
        wake_at = self._core.wake_at()
        if wake_at is None:
            yield self._woken
            yield from self._drain()
            return
        now_ns = self._kernel.now_ns
        wait_ns = max(0, time_ns(wake_at) - now_ns)
        late_ns = self.identity.slot.timer_delay_ns(wait_ns) if wait_ns else 0
        alarm = self._kernel.at(now_ns + wait_ns + late_ns, self._woken.fire)
        yield self._woken
        alarm.cancel()
        yield from self._drain()
        if self._num_outages == num_outages and self._kernel.now_s >= wake_at:
            self._deliver(self._core.on_time(self._kernel.now_s))

    def _handle_batch(self) -> Process:
        """Wait until the event loop has closed the batch, or has taken its results, after its queued work."""
        if done := self.identity.slot.handle_batch():
            yield done

    def _drain(self) -> Process:
        """Wait until the event loop has done its queued work, so that arrived frames are in the next batch."""
        if drained := self.identity.slot.drain():
            yield drained

    def _deliver(self, replies: Sequence[Reply]) -> None:
        """Send one frame per connection."""
        frames: dict[int, list[FromVerifier]] = {}
        for conn, message in replies:
            frames.setdefault(conn, []).append(cast(FromVerifier, message))
        for conn, messages in frames.items():
            if wire := self._wires.get(conn):
                wire.send_down(messages)
