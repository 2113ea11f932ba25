"""One machine whose cores several processes share, and the event loops that run on it."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.kernel import NS_PER_S, Event, Kernel, duration_ns

OnDone = Callable[[], None]

CLOCK_TICK_S = 1e-9
"""Work that is left over and shorter than this is done."""
TIME_SLICE_S = 0.003
"""Roughly the time that the operating system runs a thread before it switches. Shorter work is not interrupted."""


@config_dataclass
class MachineConfig:
    """The cores that processes share, and the CPU time of hosts beside the models, in seconds."""

    cores: int = option(0, "cores that verifiers, drafters and users share; 0: every process has its own", ge=0)
    engine_threads: int = option(1, "threads of a verification step", ge=1)
    is_inline: bool = option(
        True, "drafting blocks its drafter (lookup, table); false: it runs in its own thread (neural drafts)"
    )
    cold_cache_penalty: float = option(
        0.0,
        "share of the time taken from a step by others that the step loses in addition, to cold caches",
        ge=0.0,
        was=("chill",),
    )
    batch_s: float = option(0.0, "CPU time of a verifier to close a batch, and again to process its results", ge=0.0)
    receive_s: float = option(0.0, "CPU time of a verifier to receive a frame and handle its message", ge=0.0)
    send_s: float = option(0.0, "CPU time of a verifier to send a frame", ge=0.0)
    request_s: float = option(
        0.0, "CPU time of a drafter to accept a request, up to its first frame", ge=0.0, was=("ask_s",)
    )
    reply_s: float = option(
        0.0, "CPU time of a drafter to handle a frame and reply to it, without drafting", ge=0.0, was=("answer_s",)
    )
    deliver_s: float = option(
        0.0,
        "CPU time of a drafter to deliver the text of a round to its user, after its reply",
        ge=0.0,
        was=("tell_s",),
    )
    link_s: float = option(
        0.0, "CPU time of a drafter to delay a frame for its emulated link, in each direction", ge=0.0
    )
    read_s: float = option(0.0, "CPU time of the process of all users to read a piece of text", ge=0.0)
    timer_s: float = option(
        0.0, "timers of links and verifiers fire at whole multiples of this time (not CPU time)", ge=0.0
    )
    idle_penalty_s: float = option(
        0.0, "delay with which an idle process or engine starts its work (not CPU time)", ge=0.0, was=("wake_s",)
    )


@dataclass(slots=True, eq=False)
class _CpuTask:
    left_s: float  # work left in each of its threads
    num_threads: int
    is_brief: bool
    on_done: OnDone


class SimulatedMachine:
    """The scheduler of an operating system, in a coarse model.

    Brief work (one thread, at most a time slice) preempts other work and runs at full speed, because the system favours
    threads that were asleep. Longer work shares the remaining cores evenly.

    Work of several threads is a forward pass. Its threads keep their cores and wait for each other after every layer.
    While one of its cores is taken, the pass stands still, and it loses `cold_cache_penalty` times the preempting work
    in addition. Otherwise it runs at the speed of its slowest thread.
    """

    def __init__(self, kernel: Kernel, num_cores: int, cold_cache_penalty: float = 0.0) -> None:
        self._kernel = kernel
        self._num_cores = num_cores
        self._cold_cache_penalty = cold_cache_penalty
        self._tasks: list[_CpuTask] = []
        self._num_brief = 0
        self._num_sharing = 0  # threads of all other tasks
        self._updated_ns = 0  # when the tasks' remaining work was last updated
        self._due: Event | None = None

    def run(self, work_s: float, num_threads: int, on_done: OnDone) -> None:
        """Start work that takes `work_s` on an idle machine; `on_done` is called when all its threads are done."""
        self._update()
        is_brief = num_threads == 1 and work_s <= TIME_SLICE_S
        self._tasks.append(_CpuTask(work_s, min(num_threads, self._num_cores), is_brief, on_done))
        self._schedule()

    def _speed(self, task: _CpuTask) -> float:
        """The task's current speed relative to an idle machine; negative where it loses work."""
        if task.is_brief:
            return min(1.0, self._num_cores / self._num_brief)
        num_free = self._num_cores - self._num_brief
        if num_free < task.num_threads:
            return -self._cold_cache_penalty * min(self._num_brief, self._num_cores)
        threads_per_core = self._num_sharing / num_free
        return 1.0 / max(1.0, math.ceil(threads_per_core) if task.num_threads > 1 else threads_per_core)

    def _update(self) -> None:
        elapsed_s = (self._kernel.now_ns - self._updated_ns) / NS_PER_S
        self._updated_ns = self._kernel.now_ns
        for task in self._tasks:
            task.left_s -= elapsed_s * self._speed(task)

    def _schedule(self) -> None:
        """Schedule the end of the task that finishes first at the current speeds."""
        self._num_brief = sum(task.is_brief for task in self._tasks)
        self._num_sharing = sum(task.num_threads for task in self._tasks if not task.is_brief)
        if self._due:
            self._due.cancel()
            self._due = None
        if self._tasks:
            soonest_s = min(task.left_s / speed for task in self._tasks if (speed := self._speed(task)) > 0.0)
            due_ns = self._kernel.now_ns + duration_ns(max(0.0, soonest_s))
            self._due = self._kernel.at(due_ns, self._on_due)

    def _on_due(self) -> None:
        self._due = None
        self._update()
        done = [task for task in self._tasks if task.left_s <= CLOCK_TICK_S]
        self._tasks = [task for task in self._tasks if task.left_s > CLOCK_TICK_S]
        self._schedule()
        for task in done:
            task.on_done()


class EventLoop:
    """A process with one thread: it does its work in order of submission, and sleeps while there is none."""

    def __init__(self, kernel: Kernel, machine: SimulatedMachine, idle_penalty_s: float = 0.0) -> None:
        """`idle_penalty_s`: the time that it takes to wake the sleeping thread."""
        self._kernel = kernel
        self._machine = machine
        self._idle_penalty_ns = duration_ns(idle_penalty_s)
        self._queue: deque[tuple[float, OnDone]] = deque()
        self._is_working = False
        self._is_awake = False

    @property
    def is_busy(self) -> bool:
        """Whether work is running or queued."""
        return self._is_working or bool(self._queue)

    def submit(self, work_s: float, on_done: OnDone) -> None:
        """Queue work. Work of zero length on an idle loop is done at once."""
        if not self.is_busy and work_s <= 0.0:
            on_done()
            return
        self._queue.append((work_s, on_done))
        self._run_next()

    def _run_next(self) -> None:
        if self._queue and not self._is_working:
            work_s, on_done = self._queue.popleft()
            self._is_working = True
            if self._is_awake or not self._idle_penalty_ns:
                self._run(work_s, on_done)
            else:
                self._kernel.at(self._kernel.now_ns + self._idle_penalty_ns, lambda: self._run(work_s, on_done))

    def _run(self, work_s: float, on_done: OnDone) -> None:
        self._is_awake = True
        self._machine.run(work_s, 1, lambda: self._on_done(on_done))

    def _on_done(self, on_done: OnDone) -> None:
        self._is_working = False
        on_done()
        self._run_next()
        self._is_awake = self._is_working
