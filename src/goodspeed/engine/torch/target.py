"""The embedded target engine: a KV cache across rounds, one packed forward pass per batch, then each stream's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.logprobs import TopTokens
from goodspeed.decoding.rules import match, verify
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import (
    CachedPrefix,
    Outcome,
    Prefill,
    StreamSpec,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.engine.logits_processors import Processors, failure_of, logits_processors
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.logprobs import logprobs_of

SCORED_ROWS = 64


@dataclass(slots=True)
class _Stream:
    spec: StreamSpec
    table: BlockTable
    tokens: list[int]
    """Committed tokens: the prefix, then the answer."""
    processors: Processors = ()
    num_cached: int = 0
    """Leading tokens with valid keys and values: the prefilled ones, and after the prefill all but the last."""
    prompt_logprobs: tuple[float, ...] = ()
    """Of the prefilled tokens, if requested, as prompt_top_logprobs."""
    prompt_top_logprobs: tuple[TopTokens, ...] = ()

    @property
    def num_to_prefill(self) -> int:
        """Prefix tokens that are not prefilled yet."""
        return len(self.spec.tokens) - self.num_cached


class TorchTarget:
    """A TargetEngine with a Decoder. A violation of the TargetEngine contract fails an assertion."""

    def __init__(
        self, decoder: Decoder, info: TargetInfo, is_batch_invariant: bool, grammars: Grammars | None = None
    ) -> None:
        self.info = info
        self.grammars = grammars
        self.is_batch_invariant = is_batch_invariant
        """Result of the self-check on this machine: logits do not depend on the rest of the batch, to the bit."""
        self.decoder = decoder
        self._pool = KvPool(decoder.config, info.kv_capacity, decoder.dtype, decoder.device)
        self._streams: dict[StreamKey, _Stream] = {}
        self._retained: dict[StreamKey, BlockTable] = {}

    @property
    def num_open(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    @property
    def num_reserved(self) -> int:
        """KV tokens in the blocks of all streams, with those that are retained; shared blocks count once."""
        return self._pool.num_reserved

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        table, num_cached = BlockTable(), 0
        if spec.prefix:
            num_cached = spec.prefix.num_tokens
            assert num_cached < len(spec.tokens), f"{num_cached} of {len(spec.tokens)} tokens are cached"
            table = self._pool.fork(self._source(spec.prefix), num_cached)
        self._streams[stream] = _Stream(
            spec, table, list(spec.tokens), logits_processors(spec, self.grammars), num_cached
        )

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        ended = self._streams.pop(stream)
        assert num_tokens <= ended.num_cached, f"{num_tokens} tokens to retain, {ended.num_cached} are cached"
        self._pool.shorten(ended.table, num_tokens)
        self._retained[stream] = ended.table

    def close(self, stream: StreamKey) -> None:
        open_stream = self._streams.pop(stream, None)
        self._pool.free(open_stream.table if open_stream else self._retained.pop(stream))

    @torch.inference_mode()
    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        streams = [self._streams[work.stream] for work in batch]
        segments = [_segment(stream, work) for stream, work in zip(streams, batch, strict=True)]
        for segment in segments:
            self._pool.grow(segment.table, segment.positions.stop)
        logits = self.decoder.forward(segments, self._pool).split([segment.num_logits for segment in segments])
        return [_outcome(stream, work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]

    def _source(self, prefix: CachedPrefix) -> BlockTable:
        running = self._streams.get(prefix.source)
        if running is None:
            return self._retained[prefix.source]
        assert prefix.num_tokens <= running.num_cached, f"{prefix.num_tokens} of {running.num_cached} cached tokens"
        return running.table


def _segment(stream: _Stream, work: Work) -> Segment:
    """The tokens that run through the model for this work item, and how many of their rows need logits."""
    if isinstance(work, Prefill):
        remaining = stream.num_to_prefill
        assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens}, {remaining} remain"
        end = stream.num_cached + work.num_tokens
        tokens = stream.tokens[stream.num_cached : end]
        num_logits = len(tokens) if stream.spec.prompt_logprobs else int(end == len(stream.spec.tokens))
        return Segment(tokens, stream.table, stream.num_cached, num_logits)
    assert len(stream.tokens) == stream.num_cached + 1, f"stream {work.stream} is not completely prefilled"
    tokens = [stream.tokens[-1], *work.draft_tokens]
    num_tokens = stream.num_cached + len(tokens)
    assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
    return Segment(tokens, stream.table, stream.num_cached, len(tokens))


def _outcome(stream: _Stream, work: Work, logits: torch.Tensor) -> Outcome:
    """Verify, commit, and roll back the cache to the committed tokens. `logits` is [rows that need logits, vocab]."""
    if isinstance(work, Prefill):
        if stream.spec.prompt_logprobs:
            _score_prompt(stream, logits)
        stream.num_cached += work.num_tokens
        if stream.num_to_prefill:
            return Outcome(work.stream, 0, None)
        return replace(
            _commit(stream, Verify(work.stream, ()), logits[-1:]),
            prompt_logprobs=stream.prompt_logprobs,
            prompt_top_logprobs=stream.prompt_top_logprobs,
        )
    return _commit(stream, work, logits)


def _commit(stream: _Stream, work: Verify, logits: torch.Tensor) -> Outcome:
    num_accepted, next_token = _verify(stream, work, logits)
    committed = (*work.draft_tokens[:num_accepted], next_token)
    spec = stream.spec
    logprobs, top_logprobs = logprobs_of(logits, committed, spec.top_logprobs) if spec.logprobs else ((), ())
    stream.tokens.extend(committed)
    for processor in stream.processors:
        processor.commit(committed)
    stream.num_cached = len(stream.tokens) - 1
    return Outcome(
        work.stream, num_accepted, next_token, logprobs, failure_of(stream.processors), top_logprobs=top_logprobs
    )


def _verify(stream: _Stream, work: Verify, logits: torch.Tensor) -> tuple[int, int]:
    """(num_accepted, next_token). With plain greedy decoding on a GPU only the argmax tokens are copied to the host."""
    is_greedy = stream.spec.sampling.rule is Rule.GREEDY and not stream.processors
    if is_greedy and logits.device.type != "cpu":
        return match(logits.argmax(-1).tolist(), work.draft_tokens)
    rows = processed(logits.float().cpu().numpy(), work.draft_tokens, stream.processors)
    return verify(rows, work.draft_tokens, work.draft_probs, stream.spec.sampling, len(stream.tokens))


def _score_prompt(stream: _Stream, logits: torch.Tensor) -> None:
    """Keep the log-probabilities of the prompt's tokens that follow those of a prefill. `logits` is [tokens, vocab]."""
    following = stream.tokens[stream.num_cached + 1 : stream.num_cached + 1 + len(logits)]
    for start in range(0, len(following), SCORED_ROWS):  # a prompt's rows in float32 would take gigabytes
        scored = following[start : start + SCORED_ROWS]
        logprobs, top = logprobs_of(logits[start : start + len(scored)], scored, stream.spec.top_logprobs)
        stream.prompt_logprobs += logprobs
        stream.prompt_top_logprobs += top
