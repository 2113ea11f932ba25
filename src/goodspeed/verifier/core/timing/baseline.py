"""The target-only baseline: the time that the target without drafts would take to serve the same streams."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from goodspeed.engine.interface import Prefill, Work
from goodspeed.stats.ewma import DecayedMean, Ewma
from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_time import MIN_SHARE, StepTimeModel


@dataclass(slots=True, eq=False)
class StreamBaseline:
    """The baseline of one stream, up to its latest round."""

    opened_at: float  # when the stream was opened or resumed
    num_prefilled: int  # prompt tokens
    baseline_s: float = 0.0

    def measured_us(self, now: float) -> tuple[int, int]:
        """The baseline and the time that passed since the opening, in microseconds."""
        return round(self.baseline_s * 1e6), round((now - self.opened_at) * 1e6)


class Baseline:
    """Estimates the baseline from the steps that the engine runs.

    Without drafts a step has one token of every stream, and the next step starts as soon as the host gets to it. So a
    round that committed n tokens would have taken n times token_s. Prompts are prefilled in the same steps; how many
    prompt tokens there are per answer token depends on the users, whatever the speed.
    """

    def __init__(self, step_time: StepTimeModel, max_batch_streams: int, prefill_chunk: int) -> None:
        """`step_time` learns from every step before this does; `max_batch_streams` is 0 if a batch may hold all."""
        self._max_batch_streams = max_batch_streams
        self._prefill_chunk = prefill_chunk
        self._step_time = step_time
        self._last_step = (0, 0, 0.0)  # tokens, streams and seconds of the last step without prefill
        self._host_s = Ewma(ROUND_WEIGHT)  # from the end of a step to the start of the next, if it waits for nothing
        self._idle_since: float | None = None  # None unless there is work for the engine
        self._prefill_s = DecayedMean(ROUND_WEIGHT)  # that a prompt token adds to a step
        self._prompt_tokens = DecayedMean(ROUND_WEIGHT)  # per answer token, of finished answers

    def on_step_started(self, started: float) -> None:
        """The engine started a step."""
        if self._idle_since is not None:
            self._host_s.observe(started - self._idle_since)

    def on_step(self, work: Sequence[Work], num_tokens: int, step_s: float) -> None:
        """The engine ran a step over `work`, which has `num_tokens` tokens in all."""
        chunks = [item.num_tokens for item in work if isinstance(item, Prefill)]
        if not chunks:
            self._last_step = num_tokens, len(work), step_s
        elif self._step_time.is_settled:
            num_prompt = sum(chunks)
            verify_s = self._step_time.predict(num_tokens - num_prompt, len(work))
            self._prefill_s.observe(max(0.0, step_s - verify_s), num_prompt)

    def on_step_concluded(self, now: float, has_work: bool) -> None:
        """The verdicts of the step are made. `now` is when the engine ended it; `has_work` that there is another."""
        self._idle_since = now if has_work else None

    def on_wait(self) -> None:
        """A batch waits for more proposals, or has failed: the time to the next step is not the host's."""
        self._idle_since = None

    def on_finished(self, num_prompt: int, num_answer: int) -> None:
        """An answer of `num_answer` tokens to a prompt of `num_prompt` tokens is complete."""
        self._prompt_tokens.observe(num_prompt - 1, num_answer)

    def token_s(self, num_streams: int) -> float | None:
        """Seconds from token to token of each of `num_streams` streams; None while it is not known."""
        num_batched = min(num_streams, self._max_batch_streams or num_streams)
        if num_batched == 0 or not self._step_time.can_predict(num_batched):
            return None
        step_s = self._present_step_s(num_batched) + self._host_s.get()
        others_prefill_s = self._prompt_tokens.get() * self._prefill_s.get() * (num_streams - 1)
        return step_s * num_streams / num_batched + others_prefill_s

    def add_round(self, stream: StreamBaseline, num_committed: int, has_started: bool, token_s: float) -> None:
        """Add a round that committed `num_committed` tokens; the first one adds the prompt's prefill."""
        stream.baseline_s += token_s * num_committed
        if not has_started:
            stream.baseline_s += self._prompt_s(stream.num_prefilled, token_s)

    def _present_step_s(self, num_streams: int) -> float:
        """The last step, less what its draft tokens added; the model itself would leave out what it takes for noise."""
        last_tokens, last_streams, last_s = self._last_step
        model = self._step_time
        change_s = model.predict(num_streams, num_streams) - model.predict(last_tokens, last_streams)
        return max(MIN_SHARE * last_s, last_s + change_s)

    def _prompt_s(self, num_tokens: int, token_s: float) -> float:
        """Seconds of a stream's own prompt beyond the token_s in which its last token brings the answer's first."""
        num_steps = math.ceil(num_tokens / self._prefill_chunk)
        return self._prefill_s.get() * max(0, num_tokens - 1) + token_s * max(0, num_steps - 1)
