"""A discrete-event simulation kernel: events in the order of (time, sequence number), and processes that wait.

A process is a generator. It yields a number of nanoseconds, or a Signal, and continues after that time or signal:

    def customer(kernel: Kernel) -> Process:
        yield 1_000_000
        print("a millisecond later")

Times are whole nanoseconds, so rounding cannot change the order. Events of the same time happen in the order in which
they were scheduled.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Final, Union

NS_PER_S: Final = 1_000_000_000

Process = Generator[Union[int, "Signal"], None, None]


class Event(ABC):
    """Something that happens at a scheduled time, unless it is cancelled before."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    @abstractmethod
    def happen(self) -> None:
        """The kernel calls this at the scheduled time."""

    def cancel(self) -> None:
        """Prevent the event; no effect if it has already happened."""
        self.is_cancelled = True


class Call(Event):
    """An event that calls a function."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__()
        self._action = action

    def happen(self) -> None:
        self._action()


class Kernel:
    """The clock and the event calendar. `now_s` is `now_ns` in seconds."""

    __slots__ = ("_calendar", "_num_scheduled", "now_ns", "now_s")

    def __init__(self) -> None:
        self.now_ns = 0
        self.now_s = 0.0
        self._calendar: list[tuple[int, int, Event]] = []
        self._num_scheduled = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> Event:
        """Call the action at this time, which must not be in the past."""
        event = Call(action)
        self.put(time_ns, event)
        return event

    def put(self, time_ns: int, event: Event) -> None:
        """Schedule the event for this time, which must not be in the past."""
        assert time_ns >= self.now_ns
        self._num_scheduled += 1
        heappush(self._calendar, (time_ns, self._num_scheduled, event))

    def start(self, process: Process) -> None:
        """Start the process now, after all events that are already scheduled for now."""
        self.put(self.now_ns, _Running(self, process))

    def run(self, until_ns: int) -> None:
        """Process all events up to and including this time."""
        calendar = self._calendar
        while calendar and calendar[0][0] <= until_ns:
            self.now_ns, _, event = heappop(calendar)
            if not event.is_cancelled:
                self.now_s = self.now_ns / NS_PER_S
                event.happen()
        self.now_ns, self.now_s = until_ns, until_ns / NS_PER_S


class Signal:
    """A condition that processes wait for. `fire` resumes the waiting ones, after all events already due now."""

    __slots__ = ("_kernel", "_waiting")

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._waiting: list[Event] = []

    def fire(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for process in waiting:
                self._kernel.put(self._kernel.now_ns, process)

    def add(self, process: Event) -> None:
        """Called by the kernel when a process has yielded this signal."""
        self._waiting.append(process)


class _Running(Event):
    """The event that resumes a process until its next yield."""

    __slots__ = ("_kernel", "_process")

    def __init__(self, kernel: Kernel, process: Process) -> None:
        super().__init__()
        self._kernel = kernel
        self._process = process

    def happen(self) -> None:
        awaited = next(self._process, None)
        if isinstance(awaited, int):
            self._kernel.put(self._kernel.now_ns + awaited, self)
        elif awaited is not None:
            awaited.add(self)


def duration_ns(seconds: float) -> int:
    """The nearest whole number of nanoseconds."""
    return round(seconds * NS_PER_S)


def time_ns(seconds: float) -> int:
    """The first nanosecond that is not before this time: an event scheduled for it finds the time reached."""
    nanoseconds = math.ceil(seconds * NS_PER_S)
    return nanoseconds if nanoseconds / NS_PER_S >= seconds else nanoseconds + 1
