"""Cost and goodput of a draft on this machine: times of both engines, predicted and measured goodput.

Both engines run alternately in one process, without servers and links. Predicted and measured goodput are of this loop.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import DraftEngine, TargetEngine
from goodspeed.engine.null_draft import NullDraft
from goodspeed.engine.reference import ReferenceRequest
from goodspeed.errors import ConfigError
from goodspeed.lossless.pair import DraftSchedule, EnginePair
from goodspeed.profiling.draft_profiler import profile_draft
from goodspeed.profiling.profile_grid import ProfileGrid
from goodspeed.profiling.target_profiler import TargetProfiler
from goodspeed.tuning.data.scored_answer import ScoredAnswer

CONTEXT = 256  # tokens of context of the timed steps, or half of the target's limit if that is less
REPEATS = 7
FIRST_KEY = 2**20  # stream keys, above those of the timed steps


@dataclass(frozen=True, slots=True)
class Goodput:
    """Times, and goodput in tokens per second of all streams together; the streams draft in lockstep."""

    streams: int
    window: int
    draft_ms_per_token: float
    """One stream, in a draft of `window` tokens."""
    target_ms_per_token: float
    """One stream in target-only mode, in a batch of its own."""
    step_ms: float
    """A target step with the full proposals of all streams."""
    drafting_ms: float
    """A round of the draft engine for all streams."""
    predicted: float
    measured: float
    baseline_predicted: float
    baseline_measured: float

    @property
    def cost_share(self) -> float:
        """The cost of a draft token relative to a token of the target."""
        return self.draft_ms_per_token / self.target_ms_per_token

    @property
    def predicted_speedup(self) -> float:
        """Relative to the target-only baseline."""
        return self.predicted / self.baseline_predicted

    @property
    def speedup(self) -> float:
        """Relative to the target-only baseline."""
        return self.measured / self.baseline_measured


@dataclass(frozen=True, slots=True)
class GoodputLoad:
    """Greedy answers to generate again, `streams` at a time, with drafts of `window` tokens."""

    answers: Sequence[ScoredAnswer]
    streams: int
    window: int

    def requests(self, end_tokens: tuple[int, ...]) -> list[ReferenceRequest]:
        return [
            ReferenceRequest(answer.prompt, len(answer.tokens), answer.sampling, end_tokens) for answer in self.answers
        ]


class GoodputBench:
    """One target under one load. The constructor measures the target-only baseline, `goodput` one draft at a time."""

    def __init__(self, target: TargetEngine, load: GoodputLoad) -> None:
        """The target must have no streams and no other user. Raises ConfigError if the load does not fit into it."""
        self._target = target
        self._load = load
        self._text = [token for answer in load.answers for token in (*answer.prompt, *answer.tokens)]
        self._keys = itertools.count(FIRST_KEY)
        self._context = min(CONTEXT, target.info.max_context // 2)
        profiler = TargetProfiler(target, self._text, REPEATS)
        self._step_s = self._timed_step_s(profiler, load.streams, load.window + 1)
        self._baseline_step_s = self._timed_step_s(profiler, load.streams, 1)
        self._single_stream_s = self._timed_step_s(profiler, 1, 1)
        self._baseline = self._measured(NullDraft(), 0)

    def _timed_step_s(self, profiler: TargetProfiler, streams: int, tokens: int) -> float:
        cells = profiler.verify(ProfileGrid((streams,), (tokens,), (self._context,)), _no_progress)
        if not cells:
            raise ConfigError(f"the target has no room for {streams} streams of {self._context} tokens of context")
        return cells[0].median_s

    def goodput(self, make_draft: Callable[[], DraftEngine], accepted_per_round: float) -> Goodput:
        """The goodput of a draft engine with this acceptance.

        `make_draft` is called for each measurement, so that no measurement profits from what another one learned.
        """
        load = self._load
        drafting_s, draft_s = (
            profile_draft(
                make_draft(),
                self._text,
                ProfileGrid((num_streams,), (load.window,), (self._context,)),
                REPEATS,
                _no_progress,
            )[0].median_s
            for num_streams in (load.streams, 1)
        )
        return Goodput(
            streams=load.streams,
            window=load.window,
            draft_ms_per_token=1e3 * draft_s / load.window,
            target_ms_per_token=1e3 * self._single_stream_s,
            step_ms=1e3 * self._step_s,
            drafting_ms=1e3 * drafting_s,
            predicted=load.streams * (1.0 + accepted_per_round) / (self._step_s + drafting_s),
            measured=self._measured(make_draft(), load.window),
            baseline_predicted=load.streams / self._baseline_step_s,
            baseline_measured=self._baseline,
        )

    def _measured(self, draft: DraftEngine, window: int) -> float:
        """Tokens per second, prefills included."""
        requests = self._load.requests(self._target.info.end_tokens)
        schedule = DraftSchedule((window,), self._load.streams)
        start_s = time.perf_counter()
        texts = EnginePair(self._target, draft, self._keys).generate(requests, schedule)
        return sum(len(text.tokens) for text in texts) / (time.perf_counter() - start_s)


def _no_progress() -> None:
    """The profiler's progress callback."""
