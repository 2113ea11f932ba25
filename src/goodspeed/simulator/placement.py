"""The placement of servers and users: a machine for each of them, or one machine whose cores all of them share."""

from typing import Protocol

from goodspeed.simulator.kernel import Call, Event, Kernel, Signal, duration_ns
from goodspeed.simulator.machine import EventLoop, MachineConfig, OnDone, SimulatedMachine
from goodspeed.simulator.wire import NetworkPath, Route

NO_DELAY_NS = 1_000
"""A frame that arrives within this time took a link without delay; such a link rounds up to the next nanosecond."""


class CpuSlot(Protocol):
    """The share of a machine on which one server runs."""

    def timer_delay_ns(self, wait_ns: int) -> int:
        """How late a timer of `wait_ns` fires."""

    def run_step(self, step_s: float) -> int | Signal:
        """Run a verification step; the verifier's process waits for the result."""

    def handle_batch(self) -> Signal | None:
        """Close a batch, or take its results. The signal fires when that is done; None: it takes no time."""

    def drain(self) -> Signal | None:
        """The signal fires when the server's event loop has done its queued work; None: it has none."""

    def accept_request(self, accepted: Event) -> None:
        """A drafter accepts a request; `accepted` happens when it has."""

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        """A drafter drafts; `drafted` happens when it has."""

    def deliver(self, delivered: Event) -> None:
        """A drafter delivers a stream event; `delivered` happens when the user has read it."""


class Placement(Protocol):
    """Gives servers their CPU slots."""

    def slot(self) -> CpuSlot:
        """A CPU slot for one more server."""

    def route(self, route: Route, drafter: CpuSlot, verifier: CpuSlot) -> Route:
        """The route with the time that the hosts at both ends add."""


class DedicatedMachines:
    """A machine with enough cores for each server: only the latency models take time. Also the CPU slot of all."""

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

    def accept_request(self, accepted: Event) -> None:
        accepted.happen()

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        self._kernel.put(self._kernel.now_ns + duration_ns(drafting_s), drafted)

    def deliver(self, delivered: Event) -> None:
        delivered.happen()


class SharedMachine:
    """One machine for all servers, and for one process that stands for all users."""

    def __init__(self, kernel: Kernel, config: MachineConfig) -> None:
        self._kernel = kernel
        self._config = config
        self._machine = SimulatedMachine(kernel, config.cores, config.cold_cache_penalty)
        self._users = EventLoop(kernel, self._machine, config.idle_penalty_s)
        self._loops: dict[CpuSlot, EventLoop] = {}

    def slot(self) -> CpuSlot:
        loop = EventLoop(self._kernel, self._machine, self._config.idle_penalty_s)
        slot = _SharedCpuSlot(self._kernel, self._config, (self._machine, loop, self._users))
        self._loops[slot] = loop
        return slot

    def route(self, route: Route, drafter: CpuSlot, verifier: CpuSlot) -> Route:
        config, drafter_loop, verifier_loop = self._config, self._loops[drafter], self._loops[verifier]
        emulator = drafter, (drafter_loop, config.link_s)
        up = (drafter_loop, 0.0), (verifier_loop, config.receive_s)
        down = (verifier_loop, config.send_s), (drafter_loop, config.reply_s)
        return Route(
            _HostedPath(self._kernel, route.up, up, emulator), _HostedPath(self._kernel, route.down, down, emulator)
        )


class _SharedCpuSlot:
    """A server on a shared machine."""

    def __init__(
        self, kernel: Kernel, config: MachineConfig, machine_and_loops: tuple[SimulatedMachine, EventLoop, EventLoop]
    ) -> None:
        """`machine_and_loops`: the machine, the server's event loop and that of all users."""
        self._kernel = kernel
        self._config = config
        self._machine, self._loop, self._users = machine_and_loops
        self._drafting = self._loop if config.is_inline else EventLoop(kernel, self._machine, config.idle_penalty_s)

    def timer_delay_ns(self, wait_ns: int) -> int:
        """Timers fire at whole multiples of `timer_s`. A wait of exactly one multiple fires on time."""
        timer_ns = duration_ns(self._config.timer_s)
        return (NO_DELAY_NS - wait_ns) % timer_ns if timer_ns else 0

    def run_step(self, step_s: float) -> int | Signal:
        """The event loop wakes the engine's threads; at the end they wake the event loop."""
        done = Signal(self._kernel)
        self._wake(lambda: self._machine.run(step_s, self._config.engine_threads, lambda: self._wake(done.fire)))
        return done

    def handle_batch(self) -> Signal | None:
        return self._after(self._config.batch_s)

    def drain(self) -> Signal | None:
        return self._after(0.0)

    def accept_request(self, accepted: Event) -> None:
        self._loop.submit(self._config.request_s, accepted.happen)

    def run_draft(self, drafting_s: float, drafted: Event) -> None:
        self._drafting.submit(drafting_s, drafted.happen)

    def deliver(self, delivered: Event) -> None:
        """Delivery comes after the work that is due now: a drafter replies to the verifier first."""
        config, users = self._config, self._users

        def read() -> None:
            users.submit(config.read_s, delivered.happen)

        self._kernel.at(self._kernel.now_ns, lambda: self._loop.submit(config.deliver_s, read))

    def _after(self, work_s: float) -> Signal | None:
        if not work_s and not self._loop.is_busy:
            return None
        done = Signal(self._kernel)
        self._loop.submit(work_s, done.fire)
        return done

    def _wake(self, on_awake: OnDone) -> None:
        self._kernel.at(self._kernel.now_ns + duration_ns(self._config.idle_penalty_s), on_awake)


class _HostedPath:
    """A network path between two event loops.

    If the path delays a frame, the host that emulates the link sets a timer for the frame and handles it. `send`
    returns the time of sending: the time of arrival depends on the hosts.
    """

    def __init__(
        self,
        kernel: Kernel,
        inner: NetworkPath,
        ends: tuple[tuple[EventLoop, float], tuple[EventLoop, float]],
        emulator: tuple[CpuSlot, tuple[EventLoop, float]],
    ) -> None:
        """`ends`: sender and receiver, each an event loop and the time that a frame takes there."""
        self._kernel = kernel
        self._inner = inner
        (self._sender, self._send_s), (self._receiver, self._receive_s) = ends
        self._slot, (self._emulator, self._link_s) = emulator
        self._due_ns = 0  # when the timer of the last frame fires: frames keep their order

    def send(self, num_bytes: int, arrival: Event) -> int:
        self._sender.submit(self._send_s, lambda: self._leave(num_bytes, arrival))
        return self._kernel.now_ns

    def _leave(self, num_bytes: int, arrival: Event) -> None:
        left_ns = self._kernel.now_ns
        self._inner.send(num_bytes, Call(lambda: self._on_delay_over(left_ns, arrival)))

    def _on_delay_over(self, left_ns: int, arrival: Event) -> None:
        now_ns = self._kernel.now_ns
        if now_ns <= left_ns + NO_DELAY_NS:
            self._receive(arrival)
            return
        self._due_ns = max(self._due_ns, now_ns + self._slot.timer_delay_ns(now_ns - left_ns))
        self._kernel.at(self._due_ns, lambda: self._emulator.submit(self._link_s, lambda: self._receive(arrival)))

    def _receive(self, arrival: Event) -> None:
        self._receiver.submit(self._receive_s, arrival.happen)
