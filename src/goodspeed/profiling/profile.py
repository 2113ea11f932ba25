"""Latency tables: what a step of an engine costs, by streams, tokens and context.

Engines are driven through their seams, in this thread; no other stream may be open on them. A context is that of the
first step measured; it grows by about a token a step, for drafts are pieces of another text and mostly rejected.

Streams that a target verifies together are unlike, as they are in service, and a point says their means: contexts from
half to one and a half times, tokens from one to twice as many less one. Equal ones share one product of attention, and
a step of eight looks a fifth cheaper than it is (docs/explain/latency_models.md).
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from goodspeed.config import config_dataclass, required
from goodspeed.decoding.draft import DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.interface import DraftEngine, Prefill, StreamSpec, TargetEngine, Verify
from goodspeed.errors import ConfigError
from goodspeed.profiling.cell import ProfileCell
from goodspeed.stats.summary import quantile

PREFILL_CHUNK = 128
WARM_UP = 2  # steps before the measured ones
STEPS_BETWEEN_PREFILLS = 8  # verification steps between two prefills

OnCell = Callable[[], object]


@dataclass(frozen=True, slots=True)
class ProfilePoint:
    """One place in the grid."""

    streams: int
    tokens: int
    """Per stream and step: of a target, the draft and one more; of a draft engine, tokens asked for."""
    context: int

    @property
    def stream_tokens(self) -> list[int]:
        """Of each stream of a target: the more, the shorter its context, so that all want about as much room."""
        return _spread(1, self.tokens, self.streams)[::-1]

    @property
    def stream_contexts(self) -> list[int]:
        """Of each stream of a target."""
        return _spread((self.context + 1) / 2, self.context, self.streams)


OTHER = ProfilePoint(streams=1, tokens=1, context=1)
"""Who is verified between two prefills."""


@config_dataclass
class ProfileGrid:
    """Every combination of streams, tokens and context."""

    streams: tuple[int, ...] = required(help_text="streams in a step", ge=1, is_required=True)
    tokens: tuple[int, ...] = required(help_text="tokens per stream", ge=1, is_required=True)
    context: tuple[int, ...] = required(help_text="tokens of context", ge=1, is_required=True)

    def points(self) -> list[ProfilePoint]:
        """Streams vary slowest, context fastest."""
        return [ProfilePoint(*values) for values in itertools.product(self.streams, self.tokens, self.context)]


class TargetProfiler:
    """Measures a target engine with streams that hold pieces of `text`. Points that it has no room for are left out."""

    def __init__(self, engine: TargetEngine, text: Sequence[int], repeats: int) -> None:
        """Raises ConfigError for less than one repeat."""
        self._engine = engine
        self._text = text
        self._num_steps = _num_steps(repeats)
        self._keys = itertools.count()

    def verify(self, grid: ProfileGrid, on_cell: OnCell) -> list[ProfileCell]:
        """Verification steps."""
        return list(_cells(self._verify, grid, on_cell))

    def prefill(self, grid: ProfileGrid, on_cell: OnCell) -> list[ProfileCell]:
        """Prefill steps of `tokens` tokens for each stream, at the beginning of prompts of `context` tokens."""
        return list(_cells(self._begin, grid, on_cell))

    def after_pauses(self, point: ProfilePoint, pauses_s: Sequence[float], on_cell: OnCell) -> list[ProfileCell]:
        """Verification steps after none and after pauses of these lengths; nothing where there is no room.

        Raises ConfigError for a pause of less than 0.
        """
        streams = self._streams(point, self._num_steps * (1 + len(pauses_s)))
        if not streams:
            return []
        cells = _after_pauses(partial(self._step, point, streams), point, pauses_s, (self._num_steps, on_cell))
        self._close(streams)
        return cells

    def _verify(self, point: ProfilePoint) -> ProfileCell | None:
        streams = self._streams(point, self._num_steps)
        if not streams:
            return None
        steps_s = []
        for step in range(self._num_steps):
            began = time.perf_counter()
            self._step(point, streams, step)
            steps_s.append(time.perf_counter() - began)
        self._close(streams)
        return _cell(point, steps_s)

    def _streams(self, point: ProfilePoint, num_steps: int) -> list[StreamKey]:
        """Open and prefilled, with room for so many steps; none where there is not as much."""
        capacities = _capacities(point, num_steps)
        if not self._has_room(capacities):
            return []
        streams = []
        for number, (context, capacity) in enumerate(zip(point.stream_contexts, capacities, strict=True)):
            streams.append(self._open(context, capacity, number))
            self._prefill(streams[-1], context)
        return streams

    def _step(self, point: ProfilePoint, streams: Sequence[StreamKey], number: int) -> None:
        start = point.context + number
        lengths = zip(streams, point.stream_tokens, strict=True)
        self._engine.step([Verify(stream, _piece(self._text, start, num - 1)) for stream, num in lengths])

    def _begin(self, point: ProfilePoint) -> ProfileCell | None:
        """Another stream is verified in between, as in service: prefills in a row find everything as they left it."""
        context, num_between = max(point.context, point.tokens), STEPS_BETWEEN_PREFILLS * self._num_steps
        if not self._has_room([*_capacities(OTHER, num_between), *[context + 1] * point.streams]):
            return None
        other = self._streams(OTHER, num_between)
        steps_s = []
        for step in range(self._num_steps):
            for number in range(STEPS_BETWEEN_PREFILLS):
                self._step(OTHER, other, STEPS_BETWEEN_PREFILLS * step + number)
            streams = [self._open(context, context + 1, step + number) for number in range(point.streams)]
            began = time.perf_counter()
            self._engine.step([Prefill(stream, point.tokens) for stream in streams])
            steps_s.append(time.perf_counter() - began)
            self._close(streams)
        self._close(other)
        return _cell(point, steps_s)

    def _has_room(self, capacities: Sequence[int]) -> bool:
        info = self._engine.info
        return max(capacities) <= info.max_context and sum(capacities) <= info.kv_capacity

    def _open(self, context: int, capacity: int, offset: int) -> StreamKey:
        stream = next(self._keys)
        self._engine.open(stream, StreamSpec(_piece(self._text, offset, context), Sampling(), capacity))
        return stream

    def _prefill(self, stream: StreamKey, num_tokens: int) -> None:
        for done in range(0, num_tokens, PREFILL_CHUNK):
            self._engine.step([Prefill(stream, min(PREFILL_CHUNK, num_tokens - done))])

    def _close(self, streams: Sequence[StreamKey]) -> None:
        for stream in streams:
            self._engine.close(stream)


def profile_draft(
    engine: DraftEngine, text: Sequence[int], grid: ProfileGrid, repeats: int, on_cell: OnCell
) -> list[ProfileCell]:
    """Rounds of a draft engine: a draft, and the commit of the text's next token. Raises ConfigError."""
    keys, num_steps = itertools.count(), _num_steps(repeats)
    return list(_cells(lambda point: _draft_cell(engine, keys, text, point, num_steps), grid, on_cell))


def profile_opening(
    engine: DraftEngine, text: Sequence[int], lengths: Sequence[int], repeats: int, on_cell: OnCell
) -> list[ProfileCell]:
    """Reading prompts of so many tokens, one at a time, with a draft engine. Raises ConfigError."""
    keys, num_steps = itertools.count(), _num_steps(repeats)
    prompts = ProfileGrid((1,), tuple(lengths), (1,))
    return list(_cells(lambda point: _opening_cell(engine, keys, text, point, num_steps), prompts, on_cell))


def profile_draft_after_pauses(
    engine: DraftEngine, text: Sequence[int], point: ProfilePoint, pauses_s: Sequence[float], plan: tuple[int, OnCell]
) -> list[ProfileCell]:
    """Rounds of a draft engine after none and after such pauses; `plan`: repeats, on_cell. Raises ConfigError."""
    repeats, on_cell = plan
    streams = range(point.streams)
    for stream in streams:
        engine.open(stream, _piece(text, stream, point.context), Sampling())
    requests = [DraftRequest(stream, point.tokens) for stream in streams]

    def draft(number: int) -> None:
        engine.draft(requests)
        for stream in streams:
            engine.commit(stream, _piece(text, stream + point.context + number, 1))

    cells = _after_pauses(draft, point, pauses_s, (_num_steps(repeats), on_cell))
    for stream in streams:
        engine.close(stream)
    return cells


def _after_pauses(
    work: Callable[[int], None], point: ProfilePoint, pauses_s: Sequence[float], plan: tuple[int, OnCell]
) -> list[ProfileCell]:
    """A pause before every step, as long each time, then the next length: what is cold depends on several before."""
    num_steps, on_cell = plan
    if min(pauses_s, default=0.0) < 0.0:
        raise ConfigError(f"pauses is {pauses_s}, expected 0 or more")
    cells, numbers = [], itertools.count()
    for pause_s in (0.0, *pauses_s):
        steps_s = []
        for _ in range(num_steps):
            if pause_s:  # sleeping for no time lets threads fall asleep all the same, and is a pause
                time.sleep(pause_s)
            began = time.perf_counter()
            work(next(numbers))
            steps_s.append(time.perf_counter() - began)
        cells.append(replace(_cell(point, steps_s), pause_s=pause_s))
    on_cell()
    return cells


def _cells(
    measure: Callable[[ProfilePoint], ProfileCell | None], grid: ProfileGrid, on_cell: OnCell
) -> Iterator[ProfileCell]:
    for point in grid.points():
        cell = measure(point)
        on_cell()
        if cell:
            yield cell


def _draft_cell(
    engine: DraftEngine, keys: Iterator[StreamKey], text: Sequence[int], point: ProfilePoint, num_steps: int
) -> ProfileCell:
    streams = [next(keys) for _ in range(point.streams)]
    for number, stream in enumerate(streams):
        engine.open(stream, _piece(text, number, point.context), Sampling())
    requests = [DraftRequest(stream, point.tokens) for stream in streams]
    steps_s, num_drafted = [], 0
    for step in range(num_steps):
        began = time.perf_counter()
        drafts = engine.draft(requests)
        for number, stream in enumerate(streams):
            engine.commit(stream, _piece(text, number + point.context + step, 1))
        steps_s.append(time.perf_counter() - began)
        num_drafted += sum(len(draft.tokens) for draft in drafts)
    for stream in streams:
        engine.close(stream)
    return _cell(point, steps_s, num_drafted / (len(steps_s) * point.streams))


def _opening_cell(
    engine: DraftEngine, keys: Iterator[StreamKey], text: Sequence[int], point: ProfilePoint, num_steps: int
) -> ProfileCell:
    steps_s = []
    for step in range(num_steps):
        stream, prompt = next(keys), _piece(text, step, point.tokens)
        began = time.perf_counter()
        engine.open(stream, prompt, Sampling())
        steps_s.append(time.perf_counter() - began)
        engine.close(stream)
    return _cell(point, steps_s)


def _cell(point: ProfilePoint, steps_s: Sequence[float], num_drafted: float | None = None) -> ProfileCell:
    measured = steps_s[WARM_UP:]
    quantiles = quantile(measured, 0.5), min(measured), quantile(measured, 0.9)
    return ProfileCell(point.streams, point.tokens, point.context, *quantiles, num_drafted)


def _piece(text: Sequence[int], start: int, num_tokens: int) -> tuple[int, ...]:
    """So many tokens of the text, which goes round."""
    return tuple(text[(start + i) % len(text)] for i in range(num_tokens))


def _num_steps(repeats: int) -> int:
    if repeats < 1:
        raise ConfigError(f"repeats is {repeats}, expected 1 or more")
    return WARM_UP + repeats


def _capacities(point: ProfilePoint, num_steps: int) -> list[int]:
    """Of each stream, for so many steps."""
    shapes = zip(point.stream_contexts, point.stream_tokens, strict=True)
    return [context + 1 + (num_steps + 1) * tokens for context, tokens in shapes]


def _spread(least: float, mean: int, num: int) -> list[int]:
    """So many numbers from `least` to as far above the mean; a single one is the mean."""
    if num == 1:
        return [mean]
    return [round(least + 2 * (mean - least) * i / (num - 1)) for i in range(num)]
