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
from goodspeed.verifier.core.kv_ledger import KvLedger

MODEL = "simulated"
"""Name of the simulated model, and fingerprint of its weights and tokenizer."""
RIGHT: Final = 20_000
"""The only token of the target's text; it takes 3 bytes on the wire, as most tokens of a real vocabulary do."""
WRONG: Final = 20_001
"""A draft token that the target rejects."""
END: Final = 20_002
"""The token that ends an answer before its max_tokens. Its length is the seed of the request."""
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
        self.peak_kv_tokens = 0
        self._info = info
        self._latency = latency
        self._specs: dict[StreamKey, StreamSpec] = {}
        self._lengths: dict[StreamKey, int] = {}  # prefilled tokens, then committed tokens
        self._ledger = KvLedger(info)
        self._retained: set[StreamKey] = set()

    @property
    def info(self) -> TargetInfo:
        return self._info

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        self._specs[stream] = spec
        prefix = spec.prefix
        self._lengths[stream] = prefix.num_tokens if prefix else 0
        self._ledger.open(stream, prefix)

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        lengths = self._lengths
        num_tokens = num_prefill_tokens = num_context_tokens = 0
        outcomes = []
        for work in batch:
            if isinstance(work, Verify):
                num_new = 1 + len(work.draft_tokens)
                lengths[work.stream] = max(lengths[work.stream], len(self._specs[work.stream].tokens))
                self._ledger.grow(work.stream, lengths[work.stream] + num_new - 1)
                num_context_tokens += lengths[work.stream] + num_new - 1  # the last committed token is new to the cache
                outcomes.append(self._verify(work))
            else:
                num_new = work.num_tokens
                self._ledger.grow(work.stream, lengths[work.stream] + num_new)
                num_prefill_tokens += num_new
                num_context_tokens += lengths[work.stream] + num_new
                outcomes.append(self._prefill(work))
            num_tokens += num_new
        self.peak_kv_tokens = max(self.peak_kv_tokens, self.kv_tokens)
        self._take_time(StepShape(len(batch), num_tokens, num_prefill_tokens, num_context_tokens, self.idle_s))
        return outcomes

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        del self._specs[stream], self._lengths[stream]
        self._ledger.retain(stream, num_tokens)
        self._retained.add(stream)

    def close(self, stream: StreamKey) -> None:
        if stream in self._retained:
            self._retained.remove(stream)
            self._ledger.drop(stream)
        else:
            del self._specs[stream], self._lengths[stream]
            self._ledger.close(stream)

    @property
    def kv_tokens(self) -> int:
        """In the blocks of open streams."""
        return self._ledger.num_used

    def drop_streams(self) -> None:
        """Drop all streams and keep the counters."""
        for stream in (*self._specs, *self._retained):
            self.close(stream)

    def _verify(self, work: Verify) -> Outcome:
        draft = work.draft_tokens
        num_accepted = draft.index(WRONG) if WRONG in draft else len(draft)
        num_left = self._num_left(work.stream, self._lengths[work.stream])
        num_accepted = min(num_accepted, num_left - 1)
        self._lengths[work.stream] += num_accepted + 1
        return Outcome(work.stream, num_accepted, END if num_left == num_accepted + 1 else RIGHT)

    def _prefill(self, work: Prefill) -> Outcome:
        length = self._lengths[work.stream] + work.num_tokens
        is_whole = length == len(self._specs[work.stream].tokens)  # otherwise the last token is left to a Verify
        self._lengths[work.stream] = length + is_whole
        token = END if self._num_left(work.stream, length) == 1 else RIGHT
        return Outcome(work.stream, 0, token if is_whole else None)

    def _num_left(self, stream: StreamKey, length: int) -> int:
        """Tokens of the answer after this many tokens of the text; at least 1."""
        spec = self._specs[stream]
        end = spec.num_prompt + (spec.sampling.seed or spec.capacity)
        return max(1, end - length)

    def _take_time(self, shape: StepShape) -> None:
        self.step_s = self._latency.step_s(shape)
        self.num_steps += 1
        self.num_tokens += shape.num_tokens


def target_info(kv_capacity: int, max_context: int, kv_block: int = 1) -> TargetInfo:
    """What the engine reports to its verifier. All verifiers of a scenario serve the same model."""
    return TargetInfo(MODEL, MODEL, MODEL, VOCAB_SIZE, max_context, kv_capacity, kv_block)
