"""A target engine without a model: its text is one repeated token, and a latency model decides what steps take."""

from collections.abc import Sequence
from typing import Final

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import (
    Outcome,
    Prefill,
    StreamSpec,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape

MODEL = "simulated"
"""Name of the simulated model, and fingerprint of its weights and tokenizer."""
RIGHT: Final = 20_000
"""The only token of the target's text; it takes 3 bytes on the wire, as most tokens of a real vocabulary do."""
WRONG: Final = 20_001
"""A draft token that the target rejects."""
VOCAB_SIZE = 32_768


class SimulatedTargetEngine:
    """A TargetEngine. Drafters propose RIGHT or WRONG by their acceptance traces, so proposals contain the verdict."""

    def __init__(self, info: TargetInfo, latency: LatencyModel) -> None:
        self.step_s = 0.0
        """Duration of the last step."""
        self.idle_s = 0.0
        """How long the engine was idle before the next step. Its host sets it before each step."""
        self.grammars: Grammars | None = None
        self.num_steps = 0
        self.num_tokens = 0
        self.kv_tokens = 0  # reserved
        self.peak_kv_tokens = 0
        self._info = info
        self._latency = latency
        self._specs: dict[StreamKey, StreamSpec] = {}
        self._retained: dict[StreamKey, int] = {}  # tokens
        self._lengths: dict[StreamKey, int] = {}  # prefilled tokens, then committed tokens

    @property
    def info(self) -> TargetInfo:
        return self._info

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._specs[stream] = spec
        self._lengths[stream] = spec.prefix.num_tokens if spec.prefix else 0
        self.kv_tokens += spec.capacity
        self.peak_kv_tokens = max(self.peak_kv_tokens, self.kv_tokens)

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        lengths = self._lengths
        num_tokens = num_prefill_tokens = num_context_tokens = 0
        outcomes = []
        for work in batch:
            if isinstance(work, Verify):
                num_new = 1 + len(work.draft_tokens)
                num_context_tokens += lengths[work.stream] + num_new - 1  # the last committed token is new to the cache
                outcomes.append(self._verify(work))
            else:
                num_new = work.num_tokens
                num_prefill_tokens += num_new
                num_context_tokens += lengths[work.stream] + num_new
                outcomes.append(self._prefill(work))
            num_tokens += num_new
        self._take_time(StepShape(len(batch), num_tokens, num_prefill_tokens, num_context_tokens, self.idle_s))
        return outcomes

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        self.close(stream)
        self._retained[stream] = num_tokens
        self.kv_tokens += num_tokens

    def close(self, stream: StreamKey) -> None:
        spec = self._specs.pop(stream, None)
        self._lengths.pop(stream, None)
        self.kv_tokens -= self._retained.pop(stream) if spec is None else spec.capacity

    def drop_streams(self) -> None:
        """Drop all streams and keep the counters."""
        self._specs.clear()
        self._retained.clear()
        self._lengths.clear()
        self.kv_tokens = 0

    def _verify(self, work: Verify) -> Outcome:
        draft = work.draft_tokens
        num_accepted = draft.index(WRONG) if WRONG in draft else len(draft)
        self._lengths[work.stream] += num_accepted + 1
        return Outcome(work.stream, num_accepted, RIGHT)

    def _prefill(self, work: Prefill) -> Outcome:
        length = self._lengths[work.stream] + work.num_tokens
        is_whole = length == len(self._specs[work.stream].tokens)
        self._lengths[work.stream] = length + is_whole
        return Outcome(work.stream, 0, RIGHT if is_whole else None)

    def _take_time(self, shape: StepShape) -> None:
        self.step_s = self._latency.step_s(shape)
        self.num_steps += 1
        self.num_tokens += shape.num_tokens


def target_info(kv_capacity: int, max_context: int) -> TargetInfo:
    """What the engine reports to its verifier. All verifiers of a scenario serve the same model."""
    return TargetInfo(MODEL, MODEL, MODEL, VOCAB_SIZE, max_context, kv_capacity)
