"""The search for the largest number of clients that a criterion allows: doubling, then bisection.

The criterion is assumed to hold up to some number and not beyond. Judged by simulation it is noisy near that number, so
the search also looks one count beyond the first that fails, and says if that one does not. It always ends.
"""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The outcome under one seed. Counts are numbers of clients."""

    num_clients: int  # the largest count below the first that fails; 0: the lowest count fails
    first_failing: int | None  # None: the highest count meets the criterion
    met_beyond: int | None  # a count beyond first_failing that meets the criterion: it is not monotone

    @property
    def is_monotone(self) -> bool:
        """Whether every tried count beyond the first failing one fails too."""
        return self.met_beyond is None


def client_counts(lowest: int, highest: int, resolution: float) -> list[int]:
    """The counts that searches try: from `lowest` to `highest` in steps of about `resolution` (0.05: 5%).

    They are multiples of powers of 1 + resolution, whatever the ends are, so that searches share their simulations.
    """
    num_powers = math.ceil(math.log(highest) / math.log1p(resolution)) + 1
    powers = {round((1.0 + resolution) ** power) for power in range(num_powers)}
    return sorted({lowest, highest, *(count for count in powers if lowest < count < highest)})


def steps_of_doubling(resolution: float) -> int:
    """Steps of client_counts that about double a count."""
    return max(1, round(math.log(2.0) / math.log1p(resolution)))


class CapacitySearch:
    """One search. Try `next_count()` and report the outcome, until it is None; then `result()`.

    From `start` it goes up or down in steps that double from `first_step` to `max_step`, until the criterion changes;
    then it bisects. A good guess with a small first step costs few tries.
    """

    def __init__(self, counts: Sequence[int], start: int, first_step: int, max_step: int) -> None:
        """`counts` ascend; the search starts at the largest one up to `start`. Steps are in entries, at least 1."""
        self._counts = counts
        self._start = max(0, bisect.bisect_right(counts, start) - 1)
        self._step = first_step
        self._max_step = max_step
        self._low = -1  # entry of the largest count that met the criterion
        self._high = len(counts)  # entry of the smallest count that failed
        self._tried: set[int] = set()  # entries
        self._met_beyond: int | None = None

    def next_count(self) -> int | None:
        """The next count to try; None: the search is over."""
        entry = self._next_entry()
        return None if entry is None else self._counts[entry]

    def report(self, count: int, is_met: bool) -> None:
        """The outcome of the count that next_count() returned."""
        entry = self._next_entry()
        assert entry is not None
        assert self._counts[entry] == count
        is_first = not self._tried
        self._tried.add(entry)
        if entry > self._high:
            self._met_beyond = count if is_met else None
            return
        if not is_first:
            self._step = min(2 * self._step, self._max_step)
        if is_met:
            self._low = entry
        else:
            self._high = entry

    def result(self) -> SearchResult:
        """The outcome; the search must be over."""
        assert self.next_count() is None
        failing = self._counts[self._high] if self._high < len(self._counts) else None
        return SearchResult(self._counts[self._low] if self._low >= 0 else 0, failing, self._met_beyond)

    def _next_entry(self) -> int | None:
        low, high, last = self._low, self._high, len(self._counts) - 1
        if low < 0 and high > last:
            return self._start
        if high > last:  # nothing has failed yet
            return min(low + self._step, last) if low < last else None
        if low < 0 < high:  # nothing has met the criterion yet
            return max(high - self._step, 0)
        if high - low > 1:
            return (low + high) // 2
        return high + 1 if high < last and high + 1 not in self._tried else None
