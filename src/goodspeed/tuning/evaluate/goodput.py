"""What a draft costs and brings on this machine: times of both engines, goodput predicted from them and measured.

Both engines run in turns in one process, without servers and links; measured and predicted goodput are of the same.
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
from goodspeed.profiling.profile import ProfileGrid, TargetProfiler, profile_draft
from goodspeed.tuning.data.scored_answer import ScoredAnswer

CONTEXT = 256  # tokens, at which costs are measured; half of the target's, if that is less
REPEATS = 7
FIRST_KEY = 2**20  # of streams, beyond those of the measured steps


@dataclass(frozen=True, slots=True)
class Goodput:
    """Of so many streams that draft in lockstep; tokens per second of all together."""

    streams: int
    window: int
    draft_ms_per_token: float
    """Of one stream, in a draft of `window` tokens."""
    target_ms_per_token: float
    """Of one stream, alone."""
    step_ms: float
    """Of the target with the streams' full proposals."""
    drafting_ms: float
    """Of the draft engine for a round of all streams."""
    predicted: float
    measured: float
    baseline_predicted: float
    baseline_measured: float

    @property
    def cost_share(self) -> float:
        """A draft token's cost, in tokens of the target."""
        return self.draft_ms_per_token / self.target_ms_per_token

    @property
    def predicted_speedup(self) -> float:
        return self.predicted / self.baseline_predicted

    @property
    def speedup(self) -> float:
        return self.measured / self.baseline_measured


@dataclass(frozen=True, slots=True)
class GoodputLoad:
    """What is run: greedy answers to these prompts, so many at a time, with this window."""

    answers: Sequence[ScoredAnswer]
    streams: int
    window: int

    def requests(self, ends: tuple[int, ...]) -> list[ReferenceRequest]:
        return [ReferenceRequest(one.prompt, len(one.tokens), one.sampling, ends) for one in self.answers]


class GoodputBench:
    """One target under one load. It measures the target alone when it is made, then one draft after the other."""

    def __init__(self, target: TargetEngine, load: GoodputLoad) -> None:
        """The target has no stream yet, and no other user meanwhile. Raises ConfigError if it has no room for these."""
        self._target = target
        self._load = load
        self._text = [token for one in load.answers for token in (*one.prompt, *one.tokens)]
        self._keys = itertools.count(FIRST_KEY)
        self._context = min(CONTEXT, target.info.max_context // 2)
        bench = TargetProfiler(target, self._text, REPEATS)
        self._step_s, self._alone_s, self._single_s = (
            self._took_s(bench, streams, tokens)
            for streams, tokens in ((load.streams, load.window + 1), (load.streams, 1), (1, 1))
        )
        self._alone = self._measured(NullDraft(), 0)

    def _took_s(self, bench: TargetProfiler, streams: int, tokens: int) -> float:
        cells = bench.verify(ProfileGrid((streams,), (tokens,), (self._context,)), _nothing)
        if not cells:
            raise ConfigError(f"the target has no room for {streams} streams of {self._context} tokens of context")
        return cells[0].median_s

    def goodput(self, make_draft: Callable[[], DraftEngine], accepted_per_round: float) -> Goodput:
        """Of a draft engine that has so many tokens accepted a round.

        It is made anew for each measurement: what it learns in one must not help it in the next.
        """
        load, grids = (
            self._load,
            [ProfileGrid((n,), (self._load.window,), (self._context,)) for n in (self._load.streams, 1)],
        )
        drafting_s, draft_s = (
            profile_draft(make_draft(), self._text, grid, REPEATS, _nothing)[0].median_s for grid in grids
        )
        return Goodput(
            streams=load.streams,
            window=load.window,
            draft_ms_per_token=1e3 * draft_s / load.window,
            target_ms_per_token=1e3 * self._single_s,
            step_ms=1e3 * self._step_s,
            drafting_ms=1e3 * drafting_s,
            predicted=load.streams * (1.0 + accepted_per_round) / (self._step_s + drafting_s),
            measured=self._measured(make_draft(), load.window),
            baseline_predicted=load.streams / self._alone_s,
            baseline_measured=self._alone,
        )

    def _measured(self, draft: DraftEngine, window: int) -> float:
        """Tokens per second, prefills included."""
        requests = self._load.requests(self._target.info.end_tokens)
        began = time.perf_counter()
        texts = EnginePair(self._target, draft, self._keys).write(
            requests, DraftSchedule((window,), self._load.streams)
        )
        return sum(len(text.tokens) for text in texts) / (time.perf_counter() - began)


def _nothing() -> None:
    """No progress to show."""
