"""The embedded target engine: KV kept across rounds, one packed forward pass per batch, then each stream's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.rules import match, verify
from goodspeed.decoding.sampling import Rule
from goodspeed.engine.interface import (
    Outcome,
    Prefill,
    StreamSpec,
    TargetInfo,
    Verify,
    Work,
)
from goodspeed.engine.torch.batch import Segment
from goodspeed.engine.torch.decoder import Decoder
from goodspeed.engine.torch.kv import KvPool, Region


@dataclass(slots=True)
class _Stream:
    spec: StreamSpec
    region: Region
    tokens: list[int]
    """Committed: the prefix, then the answer."""
    num_cached: int = 0
    """Leading tokens whose keys and values are valid: what is prefilled so far; after that, all but the last."""

    @property
    def num_unread(self) -> int:
        """Prefix tokens that are still to be prefilled."""
        return len(self.spec.tokens) - self.num_cached


class TorchTarget:
    """A TargetEngine on a Decoder. Misuse of the seam fails an assertion."""

    def __init__(self, decoder: Decoder, info: TargetInfo, is_batch_invariant: bool) -> None:
        self.info = info
        self.is_batch_invariant = is_batch_invariant
        """What the self-check found on this machine: logits do not depend on what shares the batch, to the bit."""
        self.decoder = decoder
        self._pool = KvPool(decoder.config, info.kv_capacity, decoder.dtype, decoder.device)
        self._streams: dict[StreamKey, _Stream] = {}

    @property
    def num_open(self) -> int:
        """Streams that hold memory."""
        return len(self._streams)

    @property
    def num_reserved(self) -> int:
        """KV tokens that they hold."""
        return self._pool.num_reserved

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        self._streams[stream] = _Stream(spec, self._pool.reserve(spec.capacity), list(spec.tokens))

    def close(self, stream: StreamKey) -> None:
        self._pool.free(self._streams.pop(stream).region)

    @torch.inference_mode()
    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        streams = [self._streams[work.stream] for work in batch]
        segments = [_segment(stream, work) for stream, work in zip(streams, batch, strict=True)]
        logits = self.decoder.forward(segments, self._pool).split([one.num_logits for one in segments])
        return [_outcome(stream, work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]


def _segment(stream: _Stream, work: Work) -> Segment:
    """What runs through the model for this work, and how many of its rows need logits."""
    if isinstance(work, Prefill):
        assert 0 < work.num_tokens <= stream.num_unread, f"prefill of {work.num_tokens}, {stream.num_unread} remain"
        end = stream.num_cached + work.num_tokens
        tokens = stream.tokens[stream.num_cached : end]
        return Segment(tokens, stream.region, stream.num_cached, int(end == len(stream.spec.tokens)))
    assert len(stream.tokens) == stream.num_cached + 1, f"stream {work.stream} is not wholly prefilled"
    tokens = [stream.tokens[-1], *work.draft_tokens]
    needed = stream.num_cached + len(tokens)
    assert needed <= stream.spec.capacity, f"{needed} tokens in a capacity of {stream.spec.capacity}"
    return Segment(tokens, stream.region, stream.num_cached, len(tokens))


def _outcome(stream: _Stream, work: Work, logits: torch.Tensor) -> Outcome:
    """Judge, commit, and roll the cache back to what is committed. `logits` is [wanted rows, vocab]."""
    if isinstance(work, Prefill):
        stream.num_cached += work.num_tokens
        if len(logits) == 0:
            return Outcome(work.stream, 0, None)
        work = Verify(work.stream, ())
    num_accepted, next_token = _judge(stream, work, logits)
    committed = (*work.draft_tokens[:num_accepted], next_token)
    logprobs = _logprobs(logits, committed) if stream.spec.logprobs else ()
    stream.tokens.extend(committed)
    stream.num_cached = len(stream.tokens) - 1
    return Outcome(work.stream, num_accepted, next_token, logprobs)


def _judge(stream: _Stream, work: Verify, logits: torch.Tensor) -> tuple[int, int]:
    """(num_accepted, next_token). On a GPU only the greedy choices leave the device."""
    if stream.spec.sampling.rule is Rule.GREEDY and logits.device.type != "cpu":
        return match(logits.argmax(-1).tolist(), work.draft_tokens)
    rows = logits.float().cpu().numpy()
    return verify(rows, work.draft_tokens, work.draft_probs, stream.spec.sampling, len(stream.tokens))


def _logprobs(logits: torch.Tensor, committed: Sequence[int]) -> tuple[float, ...]:
    rows = logits[: len(committed)].float().log_softmax(-1)
    return tuple(rows[range(len(committed)), list(committed)].tolist())
