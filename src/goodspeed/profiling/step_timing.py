"""Measures the time of engine steps over a grid, and after pauses."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from goodspeed.errors import ConfigError
from goodspeed.profiling.profile_grid import ProfileCell, ProfileGrid, ProfilePoint
from goodspeed.stats.summary import quantile

WARM_UP = 2  # steps before the measured ones

OnCell = Callable[[], object]


def measure_after_pauses(
    work: Callable[[int], None], point: ProfilePoint, pauses_s: Sequence[float], plan: tuple[int, OnCell]
) -> list[ProfileCell]:
    """Measure steps with the same pause before each, for each pause; the pause 0 is measured first.

    The pause is constant over several steps, because cold caches depend on several steps before.
    """
    num_steps, on_cell = plan
    if min(pauses_s, default=0.0) < 0.0:
        raise ConfigError(f"pauses is {pauses_s}, expected 0 or more")
    cells, numbers = [], itertools.count()
    for pause_s in (0.0, *pauses_s):
        steps_s = []
        for _ in range(num_steps):
            if pause_s:  # even time.sleep(0) is a pause: threads go to sleep
                time.sleep(pause_s)
            start_time = time.perf_counter()
            work(next(numbers))
            steps_s.append(time.perf_counter() - start_time)
        cells.append(replace(profile_cell(point, steps_s), pause_s=pause_s))
    on_cell()
    return cells


def measure_grid(
    measure: Callable[[ProfilePoint], ProfileCell | None], grid: ProfileGrid, on_cell: OnCell
) -> Iterator[ProfileCell]:
    for point in grid.points():
        cell = measure(point)
        on_cell()
        if cell:
            yield cell


def profile_cell(point: ProfilePoint, steps_s: Sequence[float], num_drafted: float | None = None) -> ProfileCell:
    measured = steps_s[WARM_UP:]
    quantiles = quantile(measured, 0.5), min(measured), quantile(measured, 0.9)
    return ProfileCell(point.streams, point.tokens, point.context, *quantiles, num_drafted)


def piece_of(text: Sequence[int], start: int, num_tokens: int) -> tuple[int, ...]:
    """`num_tokens` tokens of the text from `start` on; the text is repeated."""
    return tuple(text[(start + i) % len(text)] for i in range(num_tokens))


def num_steps_of(repeats: int) -> int:
    if repeats < 1:
        raise ConfigError(f"repeats is {repeats}, expected 1 or more")
    return WARM_UP + repeats
