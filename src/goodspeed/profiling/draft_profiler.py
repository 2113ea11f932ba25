"""Latency tables of a draft engine: rounds of drafting, and prompts."""

import itertools
import time
from collections.abc import Iterator, Sequence

from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine
from goodspeed.profiling.profile_grid import ProfileCell, ProfileGrid, ProfilePoint
from goodspeed.profiling.step_timing import (
    OnCell,
    measure_after_pauses,
    measure_grid,
    num_steps_of,
    piece_of,
    profile_cell,
)


def profile_draft(
    engine: DraftEngine, text: Sequence[int], grid: ProfileGrid, repeats: int, on_cell: OnCell
) -> list[ProfileCell]:
    """Measure rounds: a draft, and the commit of the next token of the text. Raises ConfigError."""
    keys, num_steps = itertools.count(), num_steps_of(repeats)
    return list(measure_grid(lambda point: _draft_cell(engine, keys, text, point, num_steps), grid, on_cell))


def profile_opening(
    engine: DraftEngine, text: Sequence[int], lengths: Sequence[int], repeats: int, on_cell: OnCell
) -> list[ProfileCell]:
    """Measure the opening of one stream with a prompt of each of these lengths. Raises ConfigError."""
    keys, num_steps = itertools.count(), num_steps_of(repeats)
    prompts = ProfileGrid((1,), tuple(lengths), (1,))
    return list(measure_grid(lambda point: _opening_cell(engine, keys, text, point, num_steps), prompts, on_cell))


def profile_draft_after_pauses(
    engine: DraftEngine, text: Sequence[int], point: ProfilePoint, pauses_s: Sequence[float], plan: tuple[int, OnCell]
) -> list[ProfileCell]:
    """Measure rounds without a pause and after pauses; `plan`: (repeats, on_cell). Raises ConfigError."""
    repeats, on_cell = plan
    streams = range(point.streams)
    for stream in streams:
        engine.open(stream, piece_of(text, stream, point.context), Sampling())
    requests = [DraftRequest(stream, point.tokens) for stream in streams]

    def draft(number: int) -> None:
        engine.draft(requests)
        for stream in streams:
            engine.commit(stream, piece_of(text, stream + point.context + number, 1))

    cells = measure_after_pauses(draft, point, pauses_s, (num_steps_of(repeats), on_cell))
    for stream in streams:
        engine.close(stream)
    return cells


def _draft_cell(
    engine: DraftEngine, keys: Iterator[StreamKey], text: Sequence[int], point: ProfilePoint, num_steps: int
) -> ProfileCell:
    streams = [next(keys) for _ in range(point.streams)]
    for number, stream in enumerate(streams):
        engine.open(stream, piece_of(text, number, point.context), Sampling())
    requests = [DraftRequest(stream, point.tokens) for stream in streams]
    steps_s, num_drafted = [], 0
    for step in range(num_steps):
        start_time = time.perf_counter()
        drafts = engine.draft(requests)
        for number, stream in enumerate(streams):
            engine.commit(stream, piece_of(text, number + point.context + step, 1))
        steps_s.append(time.perf_counter() - start_time)
        num_drafted += sum(len(draft.tokens) for draft in drafts)
    for stream in streams:
        engine.close(stream)
    return profile_cell(point, steps_s, num_drafted / (len(steps_s) * point.streams))


def _opening_cell(
    engine: DraftEngine, keys: Iterator[StreamKey], text: Sequence[int], point: ProfilePoint, num_steps: int
) -> ProfileCell:
    steps_s = []
    for step in range(num_steps):
        stream, prompt = next(keys), piece_of(text, step, point.tokens)
        start_time = time.perf_counter()
        engine.open(stream, prompt, Sampling())
        steps_s.append(time.perf_counter() - start_time)
        engine.close(stream)
    return profile_cell(point, steps_s)
