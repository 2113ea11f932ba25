"""One machine whose cores several processes share: who runs takes a core, and a step waits for all of its own."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.simulator.kernel import NS_PER_S, Event, Kernel, duration_ns
from goodspeed.simulator.ranges import at_least

Then = Callable[[], None]

DONE_S = 1e-9
"""Work that is less than the clock's tick."""
SLICE_S = 0.003
"""About what a system lets a thread run before another one's turn; what takes less is done at once."""
HOSTS_S = ("batch_s", "receive_s", "send_s", "ask_s", "answer_s", "tell_s", "link_s", "read_s")
"""Of MachineConfig: CPU time, by what it is for."""


@dataclass(frozen=True, slots=True)
class MachineConfig:
    """What shares cores, and what hosts do beside the models, in CPU seconds. Raises ConfigError for values below 0."""

    cores: int = option(0, "verifiers, drafters and users share so many; 0: all have machines of their own")
    engine_threads: int = option(1, "threads of a verification step")
    is_inline: bool = option(
        True, "drafting holds up its drafter (lookup, table); else a thread of its own does it (nets)"
    )
    chill: float = option(0.0, "of the time that others take from a step, what it makes up for with caches gone cold")
    batch_s: float = option(0.0, "a verifier closes a batch, and as much when it takes the results")
    receive_s: float = option(0.0, "a verifier takes a frame and tells its core")
    send_s: float = option(0.0, "a verifier sends a frame")
    ask_s: float = option(0.0, "a drafter takes a request, up to its first frame")
    answer_s: float = option(0.0, "a drafter takes a frame and answers it, drafting left out")
    tell_s: float = option(0.0, "a drafter passes a round's text on, after it has answered")
    link_s: float = option(0.0, "a drafter holds a frame back for its emulated link, each way")
    read_s: float = option(0.0, "the users' process reads a piece of text; there is one for all of them")
    timer_s: float = option(0.0, "timers, of links and of verifiers, wait for whole multiples of it (time, not CPU)")
    wake_s: float = option(0.0, "a process or an engine that had nothing to do begins so much later (time, not CPU)")

    def __post_init__(self) -> None:
        for name in ("cores", "chill", *HOSTS_S, "timer_s", "wake_s"):
            at_least(f"machine.{name}", getattr(self, name), 0)
        at_least("machine.engine_threads", self.engine_threads, 1)


@dataclass(slots=True, eq=False)
class _Task:
    left_s: float  # of each of its threads
    num_threads: int
    is_brief: bool
    then: Then


class Machine:
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
        self._tasks: list[_Task] = []
        self._num_brief = 0
        self._num_sharing = 0  # threads of all the others
        self._at_ns = 0  # when the tasks' work was last reckoned up
        self._due: Event | None = None

    def run(self, work_s: float, num_threads: int, then: Then) -> None:
        """`work_s`: what each of the threads takes alone; `then` is called when all are done."""
        self._reckon()
        is_brief = num_threads == 1 and work_s <= SLICE_S
        self._tasks.append(_Task(work_s, min(num_threads, self._num_cores), is_brief, then))
        self._plan()

    def _pace(self, task: _Task) -> float:
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
