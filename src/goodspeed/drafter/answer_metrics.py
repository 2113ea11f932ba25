"""Metrics of answers: their times and their tokens, under the names and with the buckets of vLLM's metrics."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram

from goodspeed.decoding.draft import StreamKey
from goodspeed.drafter.core.outbox import StreamEvent, StreamFailed, TokensCommitted

FIRST_TOKEN_S = (
    *(0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0),
)
NEXT_TOKEN_S = (
    *(0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75),
    *(1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0),
)
ANSWER_S = (
    *(0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0),
    *(40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0),
)
NUM_TOKENS = tuple(digit * 10**power for power in range(6) for digit in (1, 2, 5))
FINISHED_REASONS = ("stop", "length", "abort", "error")
"""abort: the user left. error: no verifier could complete the answer."""


@dataclass(slots=True)
class _Answer:
    """An answer in progress."""

    opened_at: float
    num_prompt: int
    first_at: float = 0.0
    last_at: float = 0.0
    num_generated: int = 0


class AnswerMetrics:
    """Follows every answer from its request to its end."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.monotonic) -> None:
        self._registry = registry
        self._clock = clock
        self._answers: dict[StreamKey, _Answer] = {}
        self._prompt = self._counter("prompt_tokens", "tokens of the prompts that were read, those in a cache included")
        self._cached = self._counter("prompt_tokens_cached", "of these, tokens that a verifier's prefix cache had")
        self._ended = Counter(
            "goodspeed_drafter_request_success", "answers that ended, by reason", ["finished_reason"], registry=registry
        )
        for reason in FINISHED_REASONS:
            self._ended.labels(reason)
        self._first_token = self._histogram("time_to_first_token_seconds", "request to first tokens", FIRST_TOKEN_S)
        self._next_tokens = self._histogram(
            "inter_token_latency_seconds", "time from the tokens of one round to those of the next", NEXT_TOKEN_S
        )
        self._per_token = self._histogram(
            "request_time_per_output_token_seconds",
            "by answer: time from first to last tokens, per token after the first",
            NEXT_TOKEN_S,
        )
        self._whole = self._histogram("e2e_request_latency_seconds", "by answer: request to last tokens", ANSWER_S)
        self._prompt_length = self._histogram("request_prompt_tokens", "by answer: tokens of its prompt", NUM_TOKENS)
        self._length = self._histogram("request_generation_tokens", "by answer: its tokens", NUM_TOKENS)

    def on_opened(self, stream: StreamKey, num_prompt: int) -> None:
        """A request for an answer has arrived, and its prompt is tokenised."""
        self._answers[stream] = _Answer(self._clock(), num_prompt)

    def on_event(self, event: StreamEvent) -> None:
        """Tokens of an answer were committed, or it has failed."""
        answer = self._answers.get(event.stream)
        if answer is None:
            return
        if isinstance(event, StreamFailed):
            self.on_ended(event.stream, "error")
            return
        self._on_tokens(answer, event)
        if event.finish:
            self.on_ended(event.stream, event.finish.name.lower())

    def on_ended(self, stream: StreamKey, reason: str) -> None:
        """The answer has ended, for one of FINISHED_REASONS."""
        answer = self._answers.pop(stream, None)
        if answer is None:
            return
        self._ended.labels(reason).inc()
        self._prompt_length.observe(answer.num_prompt)
        self._length.observe(answer.num_generated)
        if not answer.num_generated:
            return
        self._whole.observe(answer.last_at - answer.opened_at)
        if answer.num_generated > 1:
            self._per_token.observe((answer.last_at - answer.first_at) / (answer.num_generated - 1))

    def _on_tokens(self, answer: _Answer, event: TokensCommitted) -> None:
        now = self._clock()
        if answer.num_generated:
            self._next_tokens.observe(now - answer.last_at)
        else:
            answer.first_at = now
            self._first_token.observe(now - answer.opened_at)
            self._prompt.inc(answer.num_prompt)
            self._cached.inc(event.round.num_cached)
        answer.last_at = now
        answer.num_generated += len(event.tokens)

    def _counter(self, name: str, help_text: str) -> Counter:
        return Counter(f"goodspeed_drafter_{name}", help_text, registry=self._registry)

    def _histogram(self, name: str, help_text: str, buckets: Sequence[float]) -> Histogram:
        return Histogram(f"goodspeed_drafter_{name}", help_text, buckets=buckets, registry=self._registry)
