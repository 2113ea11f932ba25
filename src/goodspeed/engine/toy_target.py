"""The toy model as a target engine; it asserts the contract of TargetEngine, so a caller that breaks it fails."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.logprobs import TopTokens, logprobs_of
from goodspeed.decoding.rules import verify
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.block_table import BlockAllocator, BlockTable
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
from goodspeed.engine.toy_model import CONTEXT, END_TOKEN, TOY_VOCAB_SIZE, ToyModel


def toy_info(
    tokenizer_fingerprint: str = "toy",
    vocab_size: int = TOY_VOCAB_SIZE,
    max_context: int = 4096,
    kv_capacity: int = 2**20,
    kv_block: int = 1,
) -> TargetInfo:
    """The TargetInfo of a toy target; pass the fingerprint of toy_tokenizer if that tokenizer is used."""
    return TargetInfo(
        model="toy",
        model_fingerprint=f"toy-{vocab_size}",
        tokenizer_fingerprint=tokenizer_fingerprint,
        vocab_size=vocab_size,
        max_context=max_context,
        kv_capacity=kv_capacity,
        kv_block=kv_block,
        end_tokens=(END_TOKEN,) if vocab_size >= TOY_VOCAB_SIZE else (),
    )


@dataclass(slots=True)
class _TargetStream:
    spec: StreamSpec
    tokens: list[int]
    processors: Processors
    table: BlockTable
    num_cached: int = 0
    """Leading tokens that were run: the prefilled ones, and after the prefill all but the last."""

    @property
    def num_to_prefill(self) -> int:
        return len(self.spec.tokens) - self.num_cached


@dataclass(frozen=True, slots=True)
class _Retained:
    tokens: list[int]
    table: BlockTable


class ToyTarget:
    """A TargetEngine with ToyModel. A violation of the TargetEngine contract fails an assertion."""

    def __init__(self, info: TargetInfo | None = None, seed: int = 0, grammars: Grammars | None = None) -> None:
        self.info = info or toy_info()
        self.grammars = grammars
        self.model = ToyModel(self.info.vocab_size, seed)
        self._streams: dict[StreamKey, _TargetStream] = {}
        self._retained: dict[StreamKey, _Retained] = {}
        self._allocator = BlockAllocator(self.info.kv_capacity // self.info.kv_block, self.info.kv_block)
        self._used_keys: set[StreamKey] = set()

    @property
    def num_open(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    @property
    def num_retained(self) -> int:
        """KV tokens of retained streams."""
        return sum(len(retained.tokens) for retained in self._retained.values())

    @property
    def num_reserved(self) -> int:
        """KV tokens in the blocks of all streams, with those that are retained; shared blocks count once."""
        return (self._allocator.num_blocks - self._allocator.num_free) * self.info.kv_block

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._used_keys, f"stream key {stream} is used twice"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        assert all(0 <= token < self.info.vocab_size for token in spec.tokens), "a token outside the vocabulary"
        self._used_keys.add(stream)
        table, num_cached = BlockTable(), 0
        if spec.prefix:
            num_cached = spec.prefix.num_tokens
            table = self._allocator.fork(self._source(spec.prefix, spec.tokens), num_cached)
        self._streams[stream] = _TargetStream(
            spec, list(spec.tokens), logits_processors(spec, self.grammars), table, num_cached
        )

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        assert batch, "an empty batch"
        assert len({work.stream for work in batch}) == len(batch), "two work items for one stream"
        return [self._prefill(work) if isinstance(work, Prefill) else self._verify(work) for work in batch]

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        ended = self._stream(stream)
        assert 0 < num_tokens <= ended.num_cached, f"{num_tokens} of {ended.num_cached} tokens are to be retained"
        self._allocator.shorten(ended.table, num_tokens)
        self._retained[stream] = _Retained(ended.tokens[:num_tokens], ended.table)
        del self._streams[stream]

    def close(self, stream: StreamKey) -> None:
        assert stream in self._streams or stream in self._retained, f"stream {stream} is not open"
        held = self._streams.pop(stream, None) or self._retained.pop(stream)
        self._allocator.shorten(held.table, 0)

    def _source(self, prefix: CachedPrefix, tokens: Sequence[int]) -> BlockTable:
        """The blocks of the prefix, which must be that of the tokens."""
        running, num_tokens = self._streams.get(prefix.source), prefix.num_tokens
        source = running or self._retained[prefix.source]
        num_cached = running.num_cached if running else len(source.tokens)
        assert 0 < num_tokens <= num_cached, f"{num_tokens} of {num_cached} tokens are a prefix"
        assert num_tokens < len(tokens), f"{num_tokens} of {len(tokens)} tokens are cached"
        assert source.tokens[:num_tokens] == list(tokens[:num_tokens]), "the cached prefix is of another text"
        return source.table

    def _prefill(self, work: Prefill) -> Outcome:
        stream = self._stream(work.stream)
        remaining = stream.num_to_prefill
        assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens} tokens, {remaining} remain"
        stream.num_cached += work.num_tokens
        self._allocator.grow(stream.table, stream.num_cached)
        if work.num_tokens < remaining:
            return Outcome(work.stream, 0, None)
        outcome = self._commit(stream, Verify(work.stream, ()))
        if not stream.spec.prompt_logprobs:
            return outcome
        prompt = stream.spec.tokens
        logprobs, top = self._logprobs(list(prompt[:1]), prompt[1:], stream.spec.top_logprobs)
        return replace(outcome, prompt_logprobs=logprobs, prompt_top_logprobs=top)

    def _verify(self, work: Verify) -> Outcome:
        stream = self._stream(work.stream)
        assert stream.num_cached >= len(stream.spec.tokens) - 1, f"stream {work.stream} is not completely prefilled"
        assert len(work.draft_probs) in {0, len(work.draft_tokens)}, "as many draft distributions as tokens, or none"
        assert all(0 <= token < self.info.vocab_size for token in work.draft_tokens), "a token outside the vocabulary"
        num_tokens = len(stream.tokens) + len(work.draft_tokens)
        assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
        self._allocator.grow(stream.table, num_tokens)
        return self._commit(stream, work)

    def _commit(self, stream: _TargetStream, work: Verify) -> Outcome:
        sampling = stream.spec.sampling
        if sampling.rule is Rule.GREEDY and not stream.processors:
            num_accepted, next_token = self._greedy(stream.tokens, work.draft_tokens)
        else:
            rows = processed(self._rows(stream.tokens, work.draft_tokens), work.draft_tokens, stream.processors)
            num_accepted, next_token = verify(rows, work.draft_tokens, work.draft_probs, sampling, len(stream.tokens))
        committed = (*work.draft_tokens[:num_accepted], next_token)
        spec = stream.spec
        logprobs, top = self._logprobs(stream.tokens, committed, spec.top_logprobs) if spec.logprobs else ((), ())
        stream.tokens.extend(committed)
        stream.num_cached = len(stream.tokens) - 1
        for processor in stream.processors:
            processor.commit(committed)
        failure = failure_of(stream.processors)
        return Outcome(work.stream, num_accepted, next_token, logprobs, failure, top_logprobs=top)

    def _greedy(self, tokens: list[int], draft_tokens: tuple[int, ...]) -> tuple[int, int]:
        """The result of rules.verify, without computing logits."""
        context = tokens[-CONTEXT:]
        for i, token in enumerate(draft_tokens):
            choice = self.model.top(context)
            if choice != token:
                return i, choice
            context.append(token)
        return len(draft_tokens), self.model.top(context)

    def _rows(self, tokens: list[int], draft_tokens: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """[len(draft_tokens) + 1, vocab]: logits after `tokens` and after each draft token."""
        context = tokens[-CONTEXT:]
        return np.stack([self.model.row([*context, *draft_tokens[:i]]) for i in range(len(draft_tokens) + 1)])

    def _logprobs(
        self, tokens: list[int], following: tuple[int, ...], num_top: int
    ) -> tuple[tuple[float, ...], tuple[TopTokens, ...]]:
        """Those of `following`, which come after `tokens`."""
        return logprobs_of(self._rows(tokens, following[:-1]), following, num_top) if following else ((), ())

    def _stream(self, stream: StreamKey) -> _TargetStream:
        assert stream in self._streams, f"stream {stream} is not open"
        return self._streams[stream]
