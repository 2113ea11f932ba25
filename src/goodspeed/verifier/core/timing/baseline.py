"""The target-only baseline: the time that the target without drafts would take to serve the same streams."""

from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import Prefill, Work
from goodspeed.stats.ewma import Ewma
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import MIN_SHARE, StepTimeModel


@dataclass(slots=True, eq=False)
class StreamBaseline:
    """The baseline of one stream, up to its latest round. Only Baseline changes it.

    The three `*_before` are Baseline's sums when the stream was opened; `prefill_before` and `committed_before` move to
    the end of its own prefill, as its prompt delays nothing after that.
    """

    opened_at: float = 0.0  # when the stream was opened or resumed
    is_prefilling: bool = False
    serving_before: float = 0.0
    prefill_before: float = 0.0
    committed_before: int = 0
    is_known: bool = True
    rounds_s: float = 0.0  # its prefill, and its rounds without the prefill of others
    num_committed: int = 0  # after its prefill
    num_others: int = 0  # tokens that others would have committed meanwhile


class Baseline:
    """Estimates the baseline from the steps that the engine runs.

    Without drafts a step has one token of every stream, and the next step starts as soon as the host gets to it. So a
    round that committed n tokens would have taken n such steps. Prompts are prefilled in the same steps: a stream's own
    prompt in as many, and those of others delay its tokens as often as others finish answers, which they would do at
    the same pace as the stream itself.
    """

    def __init__(self, step_time: StepTimeModel, max_batch_streams: int) -> None:
        """`step_time` learns from every step before this does; `max_batch_streams` is 0 if a batch may hold all."""
        self._step_time = step_time
        self._max_batch_streams = max_batch_streams
        self._host_s = Ewma(ROUND_WEIGHT)  # from the end of a step to the start of the next, if it waits for nothing
        self._idle_since: float | None = None  # None unless there is work for the engine
        self._busy_since: float | None = None  # when the running step's batch closed, or a stream woke the host for it
        self._num_streams = 0  # in the last step, if it had no drafts
        self._token_s: float | None = None  # of each of them, without prefill; None: not known
        self._serving_s = 0.0  # sum over all steps of the time that each would have taken
        self._prefill_s = 0.0  # sum over all steps of the time that prompts added
        self._num_committed = 0  # by all streams after their prefill

    def open(self, now: float, is_prefilling: bool) -> StreamBaseline:
        """The baseline of a stream that is opened, or resumed without another prefill."""
        if self._busy_since is None and self._idle_since is None:
            self._busy_since = now  # this stream wakes the host
        serving_s = self._serving_s + (0.0 if self._busy_since is None else now - self._busy_since)
        return StreamBaseline(now, is_prefilling, serving_s, self._prefill_s, self._num_committed)

    def on_batch(self, now: float) -> None:
        """A batch has closed: the host makes it, and the engine runs it."""
        if self._busy_since is None:
            self._busy_since = now

    def on_step(self, work: Sequence[Work], num_streams: int, started: float, step_s: float) -> None:
        """The step is over; the engine started it at `started`, when the host had made the batch.

        Without drafts it would have verified `num_streams` streams: all past their prefill.
        """
        if self._idle_since is not None:
            self._host_s.observe(started - self._idle_since)
            self._serving_s += self._host_s.get()
        elif self._busy_since is not None:
            self._serving_s += started - self._busy_since
        self._idle_since = self._busy_since = None
        chunks = [item.num_tokens for item in work if isinstance(item, Prefill)]
        num_tokens = sum([1 + len(item.draft_tokens) for item in work if not isinstance(item, Prefill)])
        num_batched = min(num_streams, self._max_batch_streams or num_streams)
        self._num_streams = num_streams
        has_verified = num_batched > 0 or num_tokens > 0
        if not (self._step_time.can_predict(num_batched) if has_verified else self._step_time.is_settled):
            self._token_s = None
            self._serving_s += step_s
            return
        expected_s = self._step_time.predict(num_batched, num_batched)
        unexplained_s = step_s - self._step_time.predict(num_tokens, len(work) - len(chunks))
        if chunks:
            self._prefill_s += unexplained_s
            self._serving_s += unexplained_s
            bare_s = expected_s
        else:
            bare_s = max(MIN_SHARE * step_s, expected_s + unexplained_s)
        self._serving_s += bare_s
        bare_s += self._host_s.get()
        self._token_s = bare_s * num_streams / num_batched if num_batched else bare_s

    def on_step_concluded(self, now: float, has_work: bool) -> None:
        """The verdicts of the step are made. `now` is when the engine ended it; `has_work` that there is another."""
        self._idle_since = now if has_work else None

    def on_wait(self) -> None:
        """A batch waits for more proposals, or has failed: the time to the next step is not the host's."""
        self._idle_since = self._busy_since = None

    def add_round(self, stream: StreamBaseline, num_committed: int) -> None:
        """The last step committed `num_committed` tokens of the stream; the first such step ends its prefill."""
        if self._token_s is None:
            stream.is_known = False
        elif stream.is_prefilling:
            stream.rounds_s = self._serving_s - stream.serving_before
        else:
            stream.rounds_s += self._token_s * num_committed
        if stream.is_prefilling:
            stream.is_prefilling = False
            stream.prefill_before, stream.committed_before = self._prefill_s, self._num_committed
        else:
            stream.num_committed += num_committed
            stream.num_others += num_committed * (self._num_streams - 1)
            self._num_committed += num_committed

    def measured_us(self, stream: StreamBaseline, now: float) -> tuple[int, int] | None:
        """The baseline and the time that passed since the opening, in microseconds; None if it is not known."""
        if not stream.is_known:
            return None
        num_others = self._num_committed - stream.committed_before - stream.num_committed
        pace = (1 + stream.num_others) / (1 + num_others)  # of the others beside this stream, without drafts and with
        prefill_s = pace * (self._prefill_s - stream.prefill_before)  # negative if steps were faster than expected
        return round(max(0.0, stream.rounds_s + prefill_s) * 1e6), round((now - stream.opened_at) * 1e6)
