"""The embedded target engine: a KV cache across rounds, one packed forward pass per batch, then each stream's rule."""

from collections.abc import Sequence

import torch

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.rules import match
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.block_table import BlockTable
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import (
    CachedPrefix,
    Outcome,
    StreamSpec,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.engine.target_stream import Logprobs, TargetStream
from goodspeed.engine.thread_choice import ThreadChoice
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool
from goodspeed.engine.torch.logprobs import logprobs_of


class _Stream(TargetStream[torch.Tensor]):
    def __init__(self, spec: StreamSpec, grammars: Grammars | None) -> None:
        super().__init__(spec, grammars)
        self.table = BlockTable()

    def _verify(self, work: Verify, logits: torch.Tensor) -> tuple[int, int]:
        """With plain greedy decoding on a GPU only the argmax tokens are copied to the host."""
        is_greedy = self.spec.sampling.rule is Rule.GREEDY and not self._processors
        if is_greedy and logits.device.type != "cpu":
            return match(logits.argmax(-1).tolist(), work.draft_tokens)
        return self._verify_rows(work, logits.float().cpu().numpy())

    def _logprobs(self, logits: torch.Tensor, tokens: Sequence[int]) -> Logprobs:
        return logprobs_of(logits, tokens, self.spec.top_logprobs)


class TorchTarget:
    """A TargetEngine with a Decoder. A violation of the TargetEngine contract fails an assertion."""

    def __init__(
        self,
        decoder: Decoder,
        info: TargetInfo,
        is_batch_invariant: bool,
        grammars: Grammars | None = None,
        threads: ThreadChoice | None = None,  # None: the number of threads is left as it is
    ) -> None:
        self.info = info
        self.grammars = grammars
        self.is_batch_invariant = is_batch_invariant
        """Result of the self-check on this machine: logits do not depend on the rest of the batch, to the bit."""
        self.decoder = decoder
        self._threads = threads
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
        opened = _Stream(spec, self.grammars)
        if spec.prefix:
            opened.table = self._pool.fork(self._source(spec.prefix), spec.prefix.num_tokens)
            opened.num_cached = spec.prefix.num_tokens
        self._streams[stream] = opened

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
        logits = self._forward(segments).split([segment.num_logits for segment in segments])
        return [stream.outcome(work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]

    def _forward(self, segments: Sequence[Segment]) -> torch.Tensor:
        if self._threads is None:
            return self.decoder.forward(segments, self._pool)
        num_rows = sum(len(segment.tokens) for segment in segments)
        return self._threads.run(num_rows, torch.set_num_threads, lambda: self.decoder.forward(segments, self._pool))

    def _source(self, prefix: CachedPrefix) -> BlockTable:
        running = self._streams.get(prefix.source)
        if running is None:
            return self._retained[prefix.source]
        assert prefix.num_tokens <= running.num_cached, f"{prefix.num_tokens} of {running.num_cached} cached tokens"
        return running.table


def _segment(stream: _Stream, work: Work) -> Segment:
    tokens, num_logits = stream.new_tokens(work)
    return Segment(tokens, stream.table, stream.num_cached, num_logits)
