"""How long a step takes by its size, where that is no straight line: the knee of an engine, and steps in its time.

A GPU's time is flat, then rises, jumps where a kernel needs another tile or shape, and falls again behind the jump. A
slope at the present size (StepTimeModel) sees none of that from afar, and a size that was never tried would never be
known. So nothing is inferred for it: it is taken to be as good as any other could make it, until it is tried.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

BITS_OF_SIZE: Final = 4
"""A bin ends where these leading bits of the size change: at multiples of 1/16 to 1/8 of it, as do tiles of kernels."""
MAX_EVIDENCE: Final = 16.0
"""Steps that a bin remembers."""
KEEP: Final = 0.999
"""Share of a bin's evidence that is left after a step of another size: what is not tried for long is tried again."""
SPEED_WEIGHT: Final = 1 / 4
"""Of the latest step in the slowness of the machine, so that a change moves all bins."""
MAX_WEIGHT: Final = 1 / 4
"""Of a step in its bin after many steps of other sizes. Meanwhile their errors may have been taken for slowness."""
MAX_ERROR: Final = 0.25
"""A step counts with at most this logarithm of its error: a single one may have been interrupted."""


def bin_end(num_tokens: int) -> int:
    """The largest of the sizes that count as alike with `num_tokens`, at least 1."""
    width = 1 << max(0, (num_tokens - 1).bit_length() - BITS_OF_SIZE)
    return -(-num_tokens // width) * width


def bin_ends(low: int, high: int) -> Iterator[int]:
    """The largest size of each bin from `low` on, and `high` in the place of the last one."""
    while (end := bin_end(low)) < high:
        yield end
        low = end + 1
    yield high


class StepCurve:
    """Seconds of a step by its number of tokens, from past steps of about that size."""

    def __init__(self) -> None:
        self._bins: dict[int, _Bin] = {}  # by bin_end
        self._log_slowness = 0.0  # of the machine, relative to its first steps
        self._num_steps = 0

    def observe(self, num_tokens: int, step_s: float) -> None:
        """A step over `num_tokens`, at least 1 and prompt tokens included, took `step_s`."""
        if step_s <= 0.0:
            return
        self._num_steps += 1
        found = self._bins.setdefault(bin_end(num_tokens), _Bin())
        evidence = found.evidence(self._num_steps)
        if evidence:
            error = _limited(math.log(step_s / found.seconds) - self._log_slowness)
            self._log_slowness += SPEED_WEIGHT * error * evidence / (evidence + 1.0)
        found.observe(step_s / math.exp(self._log_slowness), self._num_steps)

    def seconds(self, sizes: Sequence[int]) -> list[float]:
        """Of steps of these sizes, in rising order, at the present speed; empty before the first step.

        As far as the evidence is less than a step, a size is taken to be as fast as the fastest smaller one, and to
        have no more time per token than the best larger one.
        """
        bins = sorted(self._bins.items())
        per_token_s = list(accumulate([known.seconds / end for end, known in reversed(bins)], min))[::-1]
        found: list[float] = []
        i, fastest_s = 0, math.inf
        for end in map(bin_end, sizes) if bins else ():
            while i < len(bins) and bins[i][0] <= end:
                fastest_s = min(fastest_s, bins[i][1].seconds)
                i += 1
            seconds = min(fastest_s, end * per_token_s[i]) if i < len(bins) else fastest_s
            if known := self._bins.get(end):
                trust = min(1.0, known.evidence(self._num_steps))
                seconds += trust * (known.seconds - seconds)
            found.append(seconds * math.exp(self._log_slowness))
        return found


class _Bin:
    """Sizes that are alike."""

    __slots__ = ("_evidence", "_last", "seconds")

    def __init__(self) -> None:
        self.seconds = 0.0
        """Mean of the remembered steps, divided by the slowness."""
        self._evidence = 0.0  # steps, at the last one
        self._last = 0  # number of that step

    def evidence(self, num_steps: int) -> float:
        """Steps that count now."""
        return self._evidence * KEEP ** (num_steps - self._last)

    def observe(self, seconds: float, num_steps: int) -> None:
        before, num_others = self.evidence(num_steps), num_steps - self._last - 1
        self._evidence = min(MAX_EVIDENCE, before + 1.0)
        self._last = num_steps
        if before < 1.0:
            self.seconds += (seconds - self.seconds) / self._evidence
            return
        weight = max(1.0 / self._evidence, min(MAX_WEIGHT, 1.0 - (1.0 - 1.0 / MAX_EVIDENCE) ** (1 + num_others)))
        self.seconds *= math.exp(weight * _limited(math.log(seconds / self.seconds)))


def _limited(error: float) -> float:
    """The logarithm of an error, cut to what a step may count."""
    return max(-MAX_ERROR, min(MAX_ERROR, error))
