"""Where servers and users compute: each on a machine of its own, or all on one whose cores they share."""

from typing import Protocol

from goodspeed.simulator.kernel import Call, Event, Kernel, Signal, duration_ns
from goodspeed.simulator.machine import EventLoop, MachineConfig, SimulatedMachine, Then
from goodspeed.simulator.wire import NetworkPath, Route

AT_ONCE_NS = 1_000
"""A link without any delay rounds times up to the next nanosecond."""


class CpuSlot(Protocol):
    """One server's place at a machine."""

    def timer_delay_ns(self, wait_ns: int) -> int:
        """How much later its timer fires that is to wait so long."""

    def run_step(self, step_s: float) -> int | Signal:
        """What the verifier's process waits for while the engine computes."""

    def handle_batch(self) -> Signal | None:
        """Fires when a verifier's event loop has closed a batch, or has taken its results; None: that takes no time."""

    def drain(self) -> Signal | None:
        """Fires when all that this server's event loop was given before is done; None: it has nothing to do."""

    def accept_request(self, taken: Event) -> None:
        """A drafter takes a request."""

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        """A drafter drafts."""

    def deliver(self, read: Event) -> None:
        """A drafter passes news on, and the user reads it."""


class Placement(Protocol):
    """Who gives servers their seats."""

    def slot(self) -> CpuSlot:
        """For one more server."""

    def route(self, route: Route, drafter: CpuSlot, verifier: CpuSlot) -> Route:
        """The same way, from slot to slot."""


class DedicatedMachines:
    """Every server has enough cores; only the latency models take time. It is its own only CpuSlot."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    def slot(self) -> CpuSlot:
        return self

    def route(self, route: Route, drafter: CpuSlot, verifier: CpuSlot) -> Route:  # noqa: ARG002
        return route

    def timer_delay_ns(self, wait_ns: int) -> int:  # noqa: ARG002
        return 0

    def run_step(self, step_s: float) -> int | Signal:
        return duration_ns(step_s)

    def handle_batch(self) -> Signal | None:
        return None

    def drain(self) -> Signal | None:
        return None

    def accept_request(self, taken: Event) -> None:
        taken.happen()

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        self._kernel.put(self._kernel.now_ns + duration_ns(drafting_s), drafted)

    def deliver(self, read: Event) -> None:
        read.happen()


class SharedMachine:
    """All servers, and one process for all users, on one machine."""

    def __init__(self, kernel: Kernel, config: MachineConfig) -> None:
        self._kernel = kernel
        self._config = config
        self._machine = SimulatedMachine(kernel, config.cores, config.chill)
        self._users = EventLoop(kernel, self._machine, config.wake_s)
        self._loops: dict[CpuSlot, EventLoop] = {}

    def slot(self) -> CpuSlot:
        loop = EventLoop(self._kernel, self._machine, self._config.wake_s)
        slot = _SharedCpuSlot(self._kernel, self._config, (self._machine, loop, self._users))
        self._loops[slot] = loop
        return slot

    def route(self, route: Route, drafter: CpuSlot, verifier: CpuSlot) -> Route:
        config, at_drafter, at_verifier = self._config, self._loops[drafter], self._loops[verifier]
        emulated = drafter, (at_drafter, config.link_s)
        up = (at_drafter, 0.0), (at_verifier, config.receive_s)
        down = (at_verifier, config.send_s), (at_drafter, config.answer_s)
        return Route(
            _HostedPath(self._kernel, route.up, up, emulated), _HostedPath(self._kernel, route.down, down, emulated)
        )


class _SharedCpuSlot:
    def __init__(
        self, kernel: Kernel, config: MachineConfig, parts: tuple[SimulatedMachine, EventLoop, EventLoop]
    ) -> None:
        self._kernel = kernel
        self._config = config
        self._machine, self._loop, self._users = parts
        self._drafting = self._loop if config.is_inline else EventLoop(kernel, self._machine, config.wake_s)

    def timer_delay_ns(self, wait_ns: int) -> int:
        """It is told a little before it is asked to wait for whole milliseconds: a wait of one is on time."""
        timer_ns = duration_ns(self._config.timer_s)
        return (AT_ONCE_NS - wait_ns) % timer_ns if timer_ns else 0

    def run_step(self, step_s: float) -> int | Signal:
        """The event loop wakes the engine's threads, and they wake it."""
        done = Signal(self._kernel)
        self._wake(lambda: self._machine.run(step_s, self._config.engine_threads, lambda: self._wake(done.fire)))
        return done

    def handle_batch(self) -> Signal | None:
        return self._after(self._config.batch_s)

    def drain(self) -> Signal | None:
        return self._after(0.0)

    def accept_request(self, taken: Event) -> None:
        self._loop.do(self._config.ask_s, taken.happen)

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        self._drafting.do(drafting_s, drafted.happen)

    def deliver(self, read: Event) -> None:
        """After the work that is due now: a drafter answers the verifier first."""
        self._kernel.at(self._kernel.now_ns, lambda: self._loop.do(self._config.tell_s, lambda: self._pass_on(read)))

    def _after(self, work_s: float) -> Signal | None:
        if not work_s and not self._loop.is_busy:
            return None
        done = Signal(self._kernel)
        self._loop.do(work_s, done.fire)
        return done

    def _wake(self, then: Then) -> None:
        self._kernel.at(self._kernel.now_ns + duration_ns(self._config.wake_s), then)

    def _pass_on(self, read: Event) -> None:
        self._users.do(self._config.read_s, read.happen)


class _HostedPath:
    """A way between two loops. Where it takes time at all, who emulates it has a timer, and work with it.

    What it says of arrivals is now.
    """

    def __init__(
        self,
        kernel: Kernel,
        inner: NetworkPath,
        ends: tuple[tuple[EventLoop, float], tuple[EventLoop, float]],
        emulated: tuple[CpuSlot, tuple[EventLoop, float]],
    ) -> None:
        self._kernel = kernel
        self._inner = inner
        (self._sender, self._send_s), (self._receiver, self._receive_s) = ends
        self._slot, (self._emulator, self._link_s) = emulated
        self._due_ns = 0  # of the last frame: none overtakes another

    def send(self, num_bytes: int, arrival: Event) -> int:
        self._sender.do(self._send_s, lambda: self._leave(num_bytes, arrival))
        return self._kernel.now_ns

    def _leave(self, num_bytes: int, arrival: Event) -> None:
        left_ns = self._kernel.now_ns
        self._inner.send(num_bytes, Call(lambda: self._end(left_ns, arrival)))

    def _end(self, left_ns: int, arrival: Event) -> None:
        now_ns = self._kernel.now_ns
        if now_ns <= left_ns + AT_ONCE_NS:
            self._arrive(arrival)
            return
        self._due_ns = max(self._due_ns, now_ns + self._slot.timer_delay_ns(now_ns - left_ns))
        self._kernel.at(self._due_ns, lambda: self._emulator.do(self._link_s, lambda: self._arrive(arrival)))

    def _arrive(self, arrival: Event) -> None:
        self._receiver.do(self._receive_s, arrival.happen)
