"""How much KV memory the open streams will come to need: by the lengths of the answers that have ended."""

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, NamedTuple

NUM_REMEMBERED: Final = 256
"""Answers whose lengths are remembered: enough for a mean within a few percent, and few enough to follow a change."""


class AnswerLengths:
    """The lengths of the latest finished answers, of all clients together; nothing else about them is kept."""

    def __init__(self) -> None:
        self._latest: deque[int] = deque()
        self._sorted: list[int] = []
        self._sums: list[int] = [0]  # of the first i sorted lengths

    def observe(self, num_tokens: int) -> None:
        """An answer has finished with this many tokens."""
        if len(self._latest) == NUM_REMEMBERED:
            self._sorted.remove(self._latest.popleft())
        self._latest.append(num_tokens)
        insort(self._sorted, num_tokens)
        self._sums = [0, *accumulate(self._sorted)]

    def expected_remaining(self, num_tokens: int, max_tokens: int) -> float:
        """Tokens that an answer of `num_tokens` so far, and of `max_tokens` at most, is expected to go on for.

        The mean over the remembered answers that went on from there, and one that runs to its end: so nothing less
        than the end is expected while nothing is known.
        """
        first = bisect_right(self._sorted, num_tokens)
        end = max(first, bisect_right(self._sorted, max_tokens))
        num_longer = len(self._sorted) - end
        total = self._sums[end] - self._sums[first] + max_tokens * (num_longer + 1)
        return total / (end - first + num_longer + 1) - num_tokens


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
