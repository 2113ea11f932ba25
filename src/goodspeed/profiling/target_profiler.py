"""Latency tables of a target engine: the time of a step by streams, tokens and context.

The engine is called directly, in this thread; no other stream may be open. The context of a point is that of the first
measured step. It grows by about one token per step, because the drafts are pieces of another text and mostly rejected.

The streams of a point differ, as in service, and the point gives their means: contexts from half to one and a half
times the mean, tokens from 1 to twice the mean less 1. Equal streams would share one attention product, and a step of
eight streams would appear a fifth faster than it is (docs/explain/latency_models.md).
"""

import itertools
import time
from collections.abc import Sequence
from functools import partial

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import Prefill, StreamSpec, TargetEngine, Verify
from goodspeed.profiling.profile_grid import ProfileCell, ProfileGrid, ProfilePoint
from goodspeed.profiling.step_timing import (
    OnCell,
    measure_after_pauses,
    measure_grid,
    num_steps_of,
    piece_of,
    profile_cell,
)

PREFILL_CHUNK = 128
STEPS_BETWEEN_PREFILLS = 8  # verification steps

OTHER = ProfilePoint(streams=1, tokens=1, context=1)
"""The stream that is verified between two prefills."""


class TargetProfiler:
    """Measures a target engine with streams of pieces of `text`. Points that exceed its KV memory are left out."""

    def __init__(self, engine: TargetEngine, text: Sequence[int], repeats: int) -> None:
        """`repeats`: measured steps per point. Raises ConfigError for less than 1."""
        self._engine = engine
        self._text = text
        self._num_steps = num_steps_of(repeats)
        self._keys = itertools.count()

    def verify(self, grid: ProfileGrid, on_cell: OnCell) -> list[ProfileCell]:
        """Measure verification steps."""
        return list(measure_grid(self._verify, grid, on_cell))

    def prefill(self, grid: ProfileGrid, on_cell: OnCell) -> list[ProfileCell]:
        """Measure prefill steps: the first `tokens` tokens of each stream, of prompts with `context` tokens."""
        return list(measure_grid(self._prefill_step, grid, on_cell))

    def after_pauses(self, point: ProfilePoint, pauses_s: Sequence[float], on_cell: OnCell) -> list[ProfileCell]:
        """Measure verification steps without a pause and after pauses; empty if the point exceeds the KV memory.

        Raises ConfigError for a negative pause.
        """
        streams = self._streams(point, self._num_steps * (1 + len(pauses_s)))
        if not streams:
            return []
        cells = measure_after_pauses(partial(self._step, point, streams), point, pauses_s, (self._num_steps, on_cell))
        self._close(streams)
        return cells

    def _verify(self, point: ProfilePoint) -> ProfileCell | None:
        streams = self._streams(point, self._num_steps)
        if not streams:
            return None
        steps_s = []
        for step in range(self._num_steps):
            start_time = time.perf_counter()
            self._step(point, streams, step)
            steps_s.append(time.perf_counter() - start_time)
        self._close(streams)
        return profile_cell(point, steps_s)

    def _streams(self, point: ProfilePoint, num_steps: int) -> list[StreamKey]:
        """Open and prefill the streams of a point for `num_steps` steps; empty if they exceed the KV memory."""
        capacities = _capacities(point, num_steps)
        if not self._fits(capacities):
            return []
        streams = []
        for number, (context, capacity) in enumerate(zip(point.stream_contexts, capacities, strict=True)):
            streams.append(self._open(context, capacity, number))
            self._prefill(streams[-1], context)
        return streams

    def _step(self, point: ProfilePoint, streams: Sequence[StreamKey], number: int) -> None:
        start = point.context + number
        lengths = zip(streams, point.stream_tokens, strict=True)
        self._engine.step([Verify(stream, piece_of(self._text, start, num - 1)) for stream, num in lengths])

    def _prefill_step(self, point: ProfilePoint) -> ProfileCell | None:
        """Verify another stream between prefills, as in service: consecutive prefills would find warm caches."""
        context, num_between = max(point.context, point.tokens), STEPS_BETWEEN_PREFILLS * self._num_steps
        if not self._fits([*_capacities(OTHER, num_between), *[context + 1] * point.streams]):
            return None
        other = self._streams(OTHER, num_between)
        steps_s = []
        for step in range(self._num_steps):
            for number in range(STEPS_BETWEEN_PREFILLS):
                self._step(OTHER, other, STEPS_BETWEEN_PREFILLS * step + number)
            streams = [self._open(context, context + 1, step + number) for number in range(point.streams)]
            start_time = time.perf_counter()
            self._engine.step([Prefill(stream, point.tokens) for stream in streams])
            steps_s.append(time.perf_counter() - start_time)
            self._close(streams)
        self._close(other)
        return profile_cell(point, steps_s)

    def _fits(self, capacities: Sequence[int]) -> bool:
        info = self._engine.info
        return max(capacities) <= info.max_context and sum(map(info.kv_tokens, capacities)) <= info.kv_capacity

    def _open(self, context: int, capacity: int, offset: int) -> StreamKey:
        stream = next(self._keys)
        self._engine.open(stream, StreamSpec(piece_of(self._text, offset, context), Sampling(), capacity))
        return stream

    def _prefill(self, stream: StreamKey, num_tokens: int) -> None:
        for done in range(0, num_tokens, PREFILL_CHUNK):
            self._engine.step([Prefill(stream, min(PREFILL_CHUNK, num_tokens - done))])

    def _close(self, streams: Sequence[StreamKey]) -> None:
        for stream in streams:
            self._engine.close(stream)


def _capacities(point: ProfilePoint, num_steps: int) -> list[int]:
    """KV tokens of each stream for `num_steps` steps."""
    shapes = zip(point.stream_contexts, point.stream_tokens, strict=True)
    return [context + 1 + (num_steps + 1) * tokens for context, tokens in shapes]
