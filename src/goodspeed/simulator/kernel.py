"""Time, and what happens in it: events in the order of (time, sequence), and processes that wait.

A process is a generator. It yields how many nanoseconds it waits, or a Signal that it waits for:

    def customer(kernel: Kernel) -> Process:
        yield 1_000_000
        print("a millisecond later")

Times are whole nanoseconds, so that no order hangs on rounding; what is due at one time happens in the order in which
it was asked for.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from heapq import heappop, heappush
from typing import Final, Union

NS_PER_S: Final = 1_000_000_000

Process = Generator[Union[int, "Signal"], None, None]


class Event(ABC):
    """Something that is to happen. `cancel` forgets it."""

    __slots__ = ("is_cancelled",)

    def __init__(self) -> None:
        self.is_cancelled = False

    @abstractmethod
    def happen(self) -> None:
        """Its time has come."""

    def cancel(self) -> None:
        """It does not happen; nothing changes if it has happened already."""
        self.is_cancelled = True


class Call(Event):
    """A function is called."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], None]) -> None:
        super().__init__()
        self._action = action

    def happen(self) -> None:
        self._action()


class Kernel:
    """The clock and the calendar. `now_s` is for those who reckon in seconds."""

    __slots__ = ("_calendar", "_num_put", "now_ns", "now_s")

    def __init__(self) -> None:
        self.now_ns = 0
        self.now_s = 0.0
        self._calendar: list[tuple[int, int, Event]] = []
        self._num_put = 0

    def at(self, time_ns: int, action: Callable[[], None]) -> Event:
        """Have the action called at this time, which is not past."""
        event = Call(action)
        self.put(time_ns, event)
        return event

    def put(self, time_ns: int, event: Event) -> None:
        """Have the event happen at this time, which is not past."""
        assert time_ns >= self.now_ns
        self._num_put += 1
        heappush(self._calendar, (time_ns, self._num_put, event))

    def start(self, process: Process) -> None:
        """The process begins now, after everything that is due now already."""
        self.put(self.now_ns, _Running(self, process))

    def run(self, until_ns: int) -> None:
        """Let everything happen up to and including this time."""
        calendar = self._calendar
        while calendar and calendar[0][0] <= until_ns:
            self.now_ns, _, event = heappop(calendar)
            if not event.is_cancelled:
                self.now_s = self.now_ns / NS_PER_S
                event.happen()
        self.now_ns, self.now_s = until_ns, until_ns / NS_PER_S


class Signal:
    """What processes wait for. `fire` lets all that wait now go on, after everything that is due now already."""

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
        """For the kernel: a process has yielded this signal."""
        self._waiting.append(process)


class _Running(Event):
    """A process as an event: its next stretch, from one yield to the next."""

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
    """The first nanosecond that is not before this time, so that who is woken for it finds it past."""
    nanoseconds = math.ceil(seconds * NS_PER_S)
    return nanoseconds if nanoseconds / NS_PER_S >= seconds else nanoseconds + 1
