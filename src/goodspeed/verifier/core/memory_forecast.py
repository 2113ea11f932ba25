"""How much KV memory the open streams will come to need: by the lengths of the answers that have ended."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

NUM_REMEMBERED: Final = 256
"""Answers whose lengths are remembered: enough for a mean within a few percent, and few enough to follow a change."""


class AnswerLengths:
    """The lengths of the latest answers, of all clients together; nothing else about them is kept."""

    def __init__(self) -> None:
        self._latest: deque[tuple[int, bool]] = deque(maxlen=NUM_REMEMBERED)  # length, and whether it was cut there

    def observe(self, num_tokens: int, *, is_cut: bool) -> None:
        """An answer has ended by itself with this many tokens, or was cut there by its `max_tokens`."""
        self._latest.append((num_tokens, is_cut))

    def forecast(self, running: Iterable[int]) -> "LengthForecast":
        """The distribution of lengths, by the remembered answers and the present lengths of those that still run."""
        ended = [length for length, is_cut in self._latest if not is_cut]
        return LengthForecast(ended, [*running, *[length for length, is_cut in self._latest if is_cut]])


class LengthForecast:
    """The survival function S of answer lengths by Kaplan and Meier (1958).

    Of the answers that have ended, those that began together ended first because they are short. Their mean alone would
    promise memory that running answers never free. So an answer that runs, or was cut, counts as one at least as long.
    """

    def __init__(self, ended: Iterable[int], longer: Iterable[int]) -> None:
        """`ended`: whole lengths. `longer`: lengths of answers that go on from there."""
        self._lengths, self._survival, self._areas = [0], [1.0], [0.0]  # at steps of S: its value, its integral
        ends, others = sorted(ended), sorted(longer)
        first = 0
        while first < len(ends):
            length = ends[first]
            after = bisect_right(ends, length)
            # One more, that never ends: nothing less than `max_tokens` is expected while nothing is known.
            num_at_risk = len(ends) - first + len(others) - bisect_left(others, length) + 1
            self._areas.append(self._area(length))
            self._lengths.append(length)
            self._survival.append(self._survival[-1] * (1.0 - (after - first) / num_at_risk))
            first = after

    def expected_remaining(self, num_tokens: int, max_tokens: int) -> float:
        """Tokens that an answer of `num_tokens` so far, and of `max_tokens` at most, is expected to go on for."""
        survival = self._survival[bisect_right(self._lengths, num_tokens) - 1]
        return max(0.0, self._area(max_tokens) - self._area(num_tokens)) / survival

    def _area(self, num_tokens: int) -> float:
        """The integral of S from 0."""
        step = bisect_right(self._lengths, num_tokens) - 1
        return self._areas[step] + self._survival[step] * (num_tokens - self._lengths[step])


class Growth(NamedTuple):
    """What one stream holds, and by how much it is expected to grow until it ends."""

    num_held: int
    num_remaining: float


def peak_tokens(streams: Sequence[Growth]) -> float:
    """The most that the streams will hold at once, if all grow at the same pace and each frees its memory at its end.

    It is reached when a stream ends. As in the Past-Future scheduler (Gong et al., ASPLOS 2025).
    """
    peak, num_held = 0.0, 0
    for number, stream in enumerate(sorted(streams, key=_num_remaining, reverse=True), start=1):
        num_held += stream.num_held
        peak = max(peak, num_held + number * stream.num_remaining)
    return peak


def _num_remaining(stream: Growth) -> float:
    return stream.num_remaining
