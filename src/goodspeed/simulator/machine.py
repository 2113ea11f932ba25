"""One machine whose cores several processes share: who runs takes a core, and a step waits for all of its own."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.kernel import NS_PER_S, Event, Kernel, duration_ns

Then = Callable[[], None]

DONE_S = 1e-9
"""Work that is less than the clock's tick."""
SLICE_S = 0.003
"""About what a system lets a thread run before another one's turn; what takes less is done at once."""


@config_dataclass
class MachineConfig:
    """The cores that processes share, and the CPU time of hosts beside the models, in seconds."""

    cores: int = option(0, "cores that verifiers, drafters and users share; 0: every process has its own", ge=0)
    engine_threads: int = option(1, "threads of a verification step", ge=1)
    is_inline: bool = option(
        True, "drafting blocks its drafter (lookup, table); false: it runs in its own thread (neural drafts)"
    )
    chill: float = option(
        0.0, "cold-cache penalty: share of the time taken from a step by others that the step loses in addition", ge=0.0
    )
    batch_s: float = option(0.0, "a verifier closes a batch; as much again when it takes the results", ge=0.0)
    receive_s: float = option(0.0, "a verifier receives a frame and handles its message", ge=0.0)
    send_s: float = option(0.0, "a verifier sends a frame", ge=0.0)
    ask_s: float = option(0.0, "a drafter takes a request, up to its first frame", ge=0.0)
    answer_s: float = option(0.0, "a drafter receives a frame and answers it, without drafting", ge=0.0)
    tell_s: float = option(0.0, "a drafter passes the text of a round to its user, after it has answered", ge=0.0)
    link_s: float = option(0.0, "a drafter delays a frame for its emulated link, in each direction", ge=0.0)
    read_s: float = option(0.0, "the process of all users reads a piece of text", ge=0.0)
    timer_s: float = option(
        0.0, "timers of links and verifiers fire at whole multiples of this time (not CPU time)", ge=0.0
    )
    wake_s: float = option(0.0, "idle penalty: start delay of an idle process or engine (not CPU time)", ge=0.0)


@dataclass(slots=True, eq=False)
class _CpuTask:
    left_s: float  # of each of its threads
    num_threads: int
    is_brief: bool
    then: Then


class SimulatedMachine:
    """Brief work of one thread runs at once, on a core that it takes from whoever is there; the rest shares the others.

    A thread that was asleep comes before one that has computed for long, and is done within its time slice. Several
    threads are a forward pass: each keeps its core, and after every layer all wait for the last. So it stands still
    while any of its cores is taken, and even falls back by `chill` of what others compute, for it finds its caches
    cold; else it goes on at the pace of its slowest. What is longer than a slice shares evenly.
    """

    def __init__(self, kernel: Kernel, num_cores: int, chill: float = 0.0) -> None:
        self._kernel = kernel
        self._num_cores = num_cores
        self._chill = chill
        self._tasks: list[_CpuTask] = []
        self._num_brief = 0
        self._num_sharing = 0  # threads of all the others
        self._at_ns = 0  # when the tasks' work was last reckoned up
        self._due: Event | None = None

    def run(self, work_s: float, num_threads: int, then: Then) -> None:
        """`work_s`: what each of the threads takes alone; `then` is called when all are done."""
        self._reckon()
        is_brief = num_threads == 1 and work_s <= SLICE_S
        self._tasks.append(_CpuTask(work_s, min(num_threads, self._num_cores), is_brief, then))
        self._plan()

    def _pace(self, task: _CpuTask) -> float:
        """Now, as a share of what it is alone."""
        if task.is_brief:
            return min(1.0, self._num_cores / self._num_brief)
        num_free = self._num_cores - self._num_brief
        if num_free < task.num_threads:
            return -self._chill * min(self._num_brief, self._num_cores)
        crowd = self._num_sharing / num_free
        return 1.0 / max(1.0, math.ceil(crowd) if task.num_threads > 1 else crowd)

    def _reckon(self) -> None:
        elapsed_s = (self._kernel.now_ns - self._at_ns) / NS_PER_S
        self._at_ns = self._kernel.now_ns
        for task in self._tasks:
            task.left_s -= elapsed_s * self._pace(task)

    def _plan(self) -> None:
        self._num_brief = sum(task.is_brief for task in self._tasks)
        self._num_sharing = sum(task.num_threads for task in self._tasks if not task.is_brief)
        if self._due:
            self._due.cancel()
            self._due = None
        if self._tasks:
            soonest_s = min(task.left_s / pace for task in self._tasks if (pace := self._pace(task)) > 0.0)
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


class EventLoop:
    """A process with one thread, such as an event loop: it does one thing after the other, and sleeps in between."""

    def __init__(self, kernel: Kernel, machine: SimulatedMachine, wake_s: float = 0.0) -> None:
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
