"""The counterfactual: what the target alone would take, serving the same streams at the same time."""

import math

from goodspeed.engine.interface import Prefill
from goodspeed.verifier.core.batch import Batch
from goodspeed.verifier.core.served_stream import ServedStream
from goodspeed.verifier.core.timing.round_timing import NEWEST, Smoothed
from goodspeed.verifier.core.timing.step_now import StepNow


class DecayedRatio:
    """Sum of parts / sum of wholes, of the last sixteen or so; 0 before the first."""

    def __init__(self) -> None:
        self._part = 0.0
        self._whole = 0.0

    def observe(self, part: float, whole: float) -> None:
        self._part += part - NEWEST * self._part
        self._whole += whole - NEWEST * self._whole

    @property
    def value(self) -> float:
        return self._part / self._whole if self._whole else 0.0


class Baseline:
    """Without drafts a step has one token of every stream, and the next step begins as soon as the host comes to it.

    So a round that committed n tokens would have taken n times token_s. Prompts are prefilled in the same steps; how
    much there is of that to a token is the users' doing, whatever the speed: prompt tokens / answer tokens.
    """

    def __init__(self, max_batch_streams: int, prefill_chunk: int) -> None:
        self._max_batch_streams = max_batch_streams  # 0: all
        self._prefill_chunk = prefill_chunk
        self._step = StepNow()  # without prefills
        self._host_s = Smoothed()  # from the end of a step to the start of the next that waits for nothing
        self._idle_since: float | None = None  # since when the engine could have been at work
        self._prefill_s = DecayedRatio()  # that a prompt token adds to a step
        self._prompt = DecayedRatio()  # prompt tokens / answer tokens, of finished answers

    def on_started(self, started: float) -> None:
        """When the engine began a step."""
        if self._idle_since is not None:
            self._host_s.observe(started - self._idle_since)

    def on_stepped(self, num_tokens: int, num_streams: int, step_s: float) -> None:
        """It was one without prefills."""
        self._step.observe(num_tokens, num_streams, step_s)

    def on_prefilled(self, batch: Batch, step_s: float) -> None:
        """It was one with prefills."""
        if not self._step.is_settled:
            return
        chunks = [item.num_tokens for item in batch.work if isinstance(item, Prefill)]
        num_prompt = sum(chunks)
        others_s = self._step.predict(batch.num_tokens - num_prompt, len(batch.work) - len(chunks))
        self._prefill_s.observe(max(0.0, step_s - others_s), num_prompt)

    def on_verdicts(self, now: float, has_work: bool) -> None:
        """The step's verdicts are made, `now` being when the engine was done; perhaps there is work for the next."""
        self._idle_since = now if has_work else None

    def on_wait(self) -> None:
        """A batch waits for more, or has failed: what passes until the next step is not the host's time."""
        self._idle_since = None

    def on_finished(self, stream: ServedStream) -> None:
        """An answer is complete."""
        num_prompt = len(stream.request.tokens)
        self._prompt.observe(num_prompt - 1, len(stream.end.committed) - num_prompt)

    def token_s(self, num_streams: int) -> float:
        """From token to token of each of so many streams; 0: not known yet."""
        num_together = min(num_streams, self._max_batch_streams or num_streams)
        if num_together == 0 or not self._step.knows(num_together):
            return 0.0
        step_s = self._step.predict(num_together, num_together) + self._host_s.value
        others_prefill_s = self._prompt.value * self._prefill_s.value * (num_streams - 1)
        return step_s * num_streams / num_together + others_prefill_s

    def on_committed(self, stream: ServedStream, token_s: float) -> None:
        """The stream's round has committed something, whose verdict is not made yet."""
        reckoning = stream.reckoning
        if reckoning is None:
            return
        if token_s == 0.0:
            stream.reckoning = None
            return
        reckoning.alone_s += token_s * stream.end.num_new_tokens
        if not stream.end.has_verdict:
            reckoning.alone_s += self._prompt_s(reckoning.num_prefilled, token_s)

    def reckoned_us(self, stream: ServedStream, now: float) -> tuple[int, int]:
        """(what the target alone would have taken, what it took) since the stream was opened; 0: not known."""
        reckoning = stream.reckoning
        if reckoning is None:
            return 0, 0
        return round(reckoning.alone_s * 1e6), round((now - reckoning.since) * 1e6)

    def _prompt_s(self, num_tokens: int, token_s: float) -> float:
        """What the stream's own prompt takes beyond token_s, in which its last token brings the answer's first."""
        num_steps = math.ceil(num_tokens / self._prefill_chunk)
        return self._prefill_s.value * max(0, num_tokens - 1) + token_s * max(0, num_steps - 1)
