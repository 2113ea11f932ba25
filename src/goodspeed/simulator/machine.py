"""One machine whose cores several processes share: what runs at the same time slows each other down."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.simulator.kernel import NS_PER_S, Event, Kernel, duration_ns
from goodspeed.simulator.ranges import at_least, positive

Then = Callable[[], None]

DONE_S = 1e-9
"""Work that is less than the clock's tick."""


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What shares cores, and what hosts do beside the models, in CPU seconds. Raises ConfigError for values below 0."""

    cores: int = option(0, "verifiers, drafters and users share so many; 0: all have machines of their own")
    engine_threads: int = option(1, "threads of a verification step")
    is_inline: bool = option(
        True, "drafting holds up its drafter (lookup, table); else a thread of its own does it (nets)"
    )
    step_factor: float = option(1.0, "steps take so many times what the latency model says, as long as nobody disturbs")
    receive_s: float = option(0.0, "a verifier takes a frame and tells its core")
    send_s: float = option(0.0, "a verifier sends a frame")
    ask_s: float = option(0.0, "a drafter takes a request, up to its first frame")
    answer_s: float = option(0.0, "a drafter takes a frame and answers it, drafting left out")
    tell_s: float = option(0.0, "a drafter passes a round's text on, after it has answered")
    read_s: float = option(0.0, "the users' process reads a piece of text; there is one for all of them")
    timer_s: float = option(0.0, "timers, of emulated links each way and of verifiers, are so late (time, not CPU)")
    wake_s: float = option(0.0, "a process that had nothing to do begins so much later (time, not CPU)")

    def __post_init__(self) -> None:
        for name in ("cores", "receive_s", "send_s", "ask_s", "answer_s", "tell_s", "read_s", "timer_s", "wake_s"):
            at_least(f"machine.{name}", getattr(self, name), 0)
        at_least("machine.engine_threads", self.engine_threads, 1)
        positive("machine.step_factor", self.step_factor)


@dataclass(slots=True, eq=False)
class _Task:
    left_s: float  # of each of its threads
    num_threads: int
    then: Then


class Machine:
    """Every thread that runs has an even share of the cores.

    Work of several threads goes on at the pace of its slowest: a forward pass waits for all of them after each layer.
    Whole threads share a core, so beside one thread more than there are cores it has half the pace, beside as many more
    as there are cores still half. Switching is free, and caches do not go cold.
    """

    def __init__(self, kernel: Kernel, num_cores: int) -> None:
        self._kernel = kernel
        self._num_cores = num_cores
        self._tasks: list[_Task] = []
        self._num_threads = 0
        self._at_ns = 0  # when the tasks' work was last reckoned up
        self._due: Event | None = None

    def run(self, work_s: float, num_threads: int, then: Then) -> None:
        """`work_s`: what each of the threads takes alone; `then` is called when all are done."""
        self._reckon()
        self._tasks.append(_Task(work_s, min(num_threads, self._num_cores), then))
        self._plan()

    def pace(self, num_threads: int) -> float:
        """Of work of so many threads now, as a share of what it is alone."""
        crowd = self._num_threads / self._num_cores
        if crowd <= 1.0:
            return 1.0
        return 1.0 / (math.ceil(crowd) if num_threads > 1 else crowd)

    def _reckon(self) -> None:
        elapsed_s = (self._kernel.now_ns - self._at_ns) / NS_PER_S
        self._at_ns = self._kernel.now_ns
        for task in self._tasks:
            task.left_s -= elapsed_s * self.pace(task.num_threads)

    def _plan(self) -> None:
        self._num_threads = sum(task.num_threads for task in self._tasks)
        if self._due:
            self._due.cancel()
            self._due = None
        if self._tasks:
            soonest_s = min(task.left_s / self.pace(task.num_threads) for task in self._tasks)
            due_ns = self._kernel.now_ns + duration_ns(max(0.0, soonest_s))
            self._due = self._kernel.at(due_ns, self._on_due)

    def _on_due(self) -> None:
        self._due = None
        self._reckon()
        done = [task for task in self._tasks if task.left_s <= DONE_S]
        self._tasks = [task for task in self._tasks if task.left_s > DONE_S]
        self._plan()
        for task in done:
            task.then()


class Loop:
    """A process with one thread, such as an event loop: it does one thing after the other, and sleeps in between."""

    def __init__(self, kernel: Kernel, machine: Machine, wake_s: float = 0.0) -> None:
        """`wake_s`: how long it takes to be woken."""
        self._kernel = kernel
        self._machine = machine
        self._wake_ns = duration_ns(wake_s)
        self._waiting: deque[tuple[float, Then]] = deque()
        self._is_working = False
        self._is_awake = False

    @property
    def is_busy(self) -> bool:
        """There is something that it has not done."""
        return self._is_working or bool(self._waiting)

    def do(self, work_s: float, then: Then) -> None:
        """After all that it was given before; work of no time behind nothing is done at once."""
        if not self.is_busy and work_s <= 0.0:
            then()
            return
        self._waiting.append((work_s, then))
        self._go_on()

    def _go_on(self) -> None:
        if self._waiting and not self._is_working:
            work_s, then = self._waiting.popleft()
            self._is_working = True
            if self._is_awake or not self._wake_ns:
                self._begin(work_s, then)
            else:
                self._kernel.at(self._kernel.now_ns + self._wake_ns, lambda: self._begin(work_s, then))

    def _begin(self, work_s: float, then: Then) -> None:
        self._is_awake = True
        self._machine.run(work_s, 1, lambda: self._on_done(then))

    def _on_done(self, then: Then) -> None:
        self._is_working = False
        then()
        self._go_on()
        self._is_awake = self._is_working
