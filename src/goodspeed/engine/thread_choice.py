"""How many threads a forward pass on the CPU uses, where other programs may need the cores.

The threads of a pass meet after every operation. Where another program runs on one core, all of them wait for the
thread that shares it, and a pass with a thread for every core can take twice as long as one with fewer threads
(docs/measurements/engine.md). Nothing but a trial shows which is faster at the moment, so passes are tried with another
number now and then.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

Result = TypeVar("Result")

WEIGHT: Final = 1 / 16
"""Weight of the latest pass in the expected time of its size."""
RECENT_WEIGHT: Final = 1 / 4
"""Weight of the latest pass in the present deviation from that."""
CHANGED: Final = 0.2
"""A deviation beyond it, in logarithms, is a change of the machine's speed: another number may be the best now."""
MIN_INTERVAL: Final = 16
MAX_INTERVAL: Final = 128
"""Passes between two trials: the interval doubles while nothing changes."""
MAX_TRIAL: Final = 8
"""Passes of a trial."""
LOST: Final = 0.3
WON: Final = -0.6
"""Sum of logarithms at which a trial ends, if it is slower or faster."""
MIN_GAIN: Final = 0.05
"""Mean logarithm by which another number must be faster after a whole trial."""
STEPS: Final = (1, -1, 2, -2)
"""Trials in turn, from the present number to others that are not far from it: a far one may be many times as slow."""
MAX_ERROR: Final = 0.6
"""A pass counts with at most this logarithm: a single one may have been interrupted."""


def thread_counts(most: int) -> list[int]:
    """The numbers that are tried, the largest first: one less for a single busy neighbour, then three quarters each."""
    counts = [most]
    while counts[-1] > 1:
        counts.append(counts[-1] - max(1, counts[-1] // 4) if len(counts) > 1 else most - 1)
    return counts


class ThreadChoice:
    """Use `run` for every pass, or ask for `next` and report with `observe`.

    The time of a pass is compared with that of earlier ones of about its size with the present number. A trial ends as
    soon as it is clear. So trying a number that is 1.6 times as slow costs one pass in MAX_INTERVAL, half a percent.
    """

    def __init__(self, counts: Sequence[int]) -> None:
        """`counts` are the numbers to choose from, the largest first, at least one; all must give the same bits."""
        self._counts = counts
        self._present = 0  # index
        self._tried = 0  # index; the present one: there is no trial
        self._is_trial_pass = False  # the running one
        self._expected: dict[int, float] = {}  # logarithm of seconds with the present number, by size
        self._deviation = 0.0  # of the latest passes
        self._num_lost = 0  # trials; the next one is STEPS[this number in turn]
        self._interval = MIN_INTERVAL
        self._num_left = MIN_INTERVAL  # passes before the next trial
        self._num_tried = 0  # passes of the trial
        self._sum = 0.0  # of their logarithms, relative to those expected with the present number

    @property
    def present(self) -> int:
        """The number that is taken for the best."""
        return self._counts[self._present]

    def run(self, num_rows: int, set_threads: Callable[[int], object], forward: Callable[[], Result]) -> Result:
        """One pass over `num_rows` tokens, with the number of threads that is due."""
        set_threads(self.next(num_rows))
        started_s = time.perf_counter()
        result = forward()
        self.observe(num_rows, time.perf_counter() - started_s)
        return result

    def next(self, num_rows: int) -> int:
        """The threads of the next pass, over `num_rows` tokens."""
        self._is_trial_pass = self._tried != self._present and _size(num_rows) in self._expected
        return self._counts[self._tried if self._is_trial_pass else self._present]

    def observe(self, num_rows: int, seconds: float) -> None:
        """That pass took so many seconds."""
        if seconds <= 0.0 or len(self._counts) == 1:
            return
        log_s = math.log(seconds)
        size = _size(num_rows)
        expected = self._expected.get(size, log_s)
        error = max(-MAX_ERROR, min(MAX_ERROR, log_s - expected))
        if self._is_trial_pass:
            self._judge(error)
            return
        self._expected[size] = expected + WEIGHT * error
        self._deviation += RECENT_WEIGHT * (error - self._deviation)
        self._num_left -= 1
        if abs(self._deviation) > CHANGED:
            self._shift(self._deviation)
            self._interval, self._num_left = MIN_INTERVAL, 0
        if self._num_left <= 0 and self._tried == self._present:
            self._start_trial()

    def _start_trial(self) -> None:
        others = [self._present + step for step in STEPS if 0 <= self._present + step < len(self._counts)]
        self._tried = others[self._num_lost % len(others)]
        self._num_tried, self._sum = 0, 0.0

    def _judge(self, error: float) -> None:
        self._num_tried += 1
        self._sum += error
        if WON < self._sum < LOST and self._num_tried < MAX_TRIAL:
            return
        if self._sum < -MIN_GAIN * self._num_tried:
            self._present = self._tried
            self._shift(self._sum / self._num_tried)
            self._interval = MIN_INTERVAL
        else:
            self._num_lost += 1
            self._interval = min(MAX_INTERVAL, 2 * self._interval)
        self._tried, self._num_left = self._present, self._interval

    def _shift(self, error: float) -> None:
        """All passes take longer by this logarithm from now on."""
        self._expected = {size: expected + error for size, expected in self._expected.items()}
        self._deviation = 0.0


def _size(num_rows: int) -> int:
    """Passes with equal values are alike."""
    return num_rows.bit_length()
