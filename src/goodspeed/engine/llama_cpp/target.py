"""The llama.cpp target engine: one sequence per stream, one forward pass per batch, then each stream's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.rules import verify
from goodspeed.engine.interface import Outcome, Prefill, StreamSpec, TargetInfo, Verify, Work
from goodspeed.engine.llama_cpp.forward import Forward, Rows, Segment
from goodspeed.engine.logits_processors import Processors, logits_processors


@dataclass(slots=True)
class _Stream:
    spec: StreamSpec
    sequence: int
    tokens: list[int]
    """Committed tokens: the prefix, then the answer."""
    processors: Processors = ()
    num_prefilled: int = 0
    """Prefix tokens that the caller has had prefilled, or takes from a retained stream."""
    num_cached: int = 0
    """Leading tokens with valid keys and values: the prefilled ones, and after the prefill all but the last."""


class LlamaTarget:
    """A TargetEngine with llama.cpp. A violation of the TargetEngine contract fails an assertion."""

    def __init__(self, forward: Forward, info: TargetInfo, is_batch_invariant: bool) -> None:
        self.info = info
        self.is_batch_invariant = is_batch_invariant
        """Result of the self-check on this machine: logits do not depend on the rest of the batch, to the bit."""
        self._forward = forward
        self._cells = forward.cells
        self._streams: dict[StreamKey, _Stream] = {}
        self._retained: dict[StreamKey, int | None] = {}
        """The sequence of each retained stream; None if an open stream has needed it."""

    @property
    def num_open(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        assert 0 < len(spec.tokens) <= spec.capacity, f"{len(spec.tokens)} tokens in a capacity of {spec.capacity}"
        opened = _Stream(spec, self._new_sequence(), list(spec.tokens), logits_processors(spec))
        if spec.prefix:
            opened.num_prefilled = spec.prefix.num_tokens
            assert opened.num_prefilled < len(spec.tokens), f"all of {len(spec.tokens)} tokens are cached"
            running = self._streams.get(spec.prefix.source)
            source = running.sequence if running else self._retained[spec.prefix.source]
            if source is not None:
                self._cells.share(source, opened.sequence, opened.num_prefilled)
                opened.num_cached = opened.num_prefilled
        self._streams[stream] = opened

    def retain(self, stream: StreamKey, num_tokens: int) -> None:
        ended = self._streams.pop(stream)
        assert num_tokens <= ended.num_cached, f"{num_tokens} tokens to retain, {ended.num_cached} are cached"
        self._cells.truncate(ended.sequence, num_tokens)
        self._retained[stream] = ended.sequence

    def close(self, stream: StreamKey) -> None:
        open_stream = self._streams.pop(stream, None)
        sequence = open_stream.sequence if open_stream else self._retained.pop(stream)
        if sequence is not None:
            self._cells.close(sequence)

    def _new_sequence(self) -> int:
        """llama.cpp has 256 sequences; if all are in use, the stream that was retained first loses its own.

        A stream that begins with it reads these tokens again.
        """
        if self._cells.num_free_sequences == 0:
            for stream, sequence in self._retained.items():
                if sequence is not None:
                    self._cells.close(sequence)
                    self._retained[stream] = None
                    break
        return self._cells.open()

    def step(self, batch: Sequence[Work]) -> list[Outcome]:
        streams = [self._streams[work.stream] for work in batch]
        segments = [_segment(stream, work) for stream, work in zip(streams, batch, strict=True)]
        logits = self._forward.run(segments)
        outcomes = [_outcome(stream, work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]
        for stream in reversed(streams):  # the last cells first, so that they become free and not garbage
            self._cells.truncate(stream.sequence, stream.num_cached)
        return outcomes


def _segment(stream: _Stream, work: Work) -> Segment:
    """The tokens that run through the model for this work item, and how many of their rows need logits."""
    num_cached = stream.num_cached
    if isinstance(work, Prefill):
        remaining = len(stream.spec.tokens) - stream.num_prefilled
        assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens}, {remaining} remain"
        tokens = stream.tokens[num_cached : stream.num_prefilled + work.num_tokens]
        return Segment(stream.sequence, num_cached, tokens, int(work.num_tokens == remaining))
    assert stream.num_prefilled >= len(stream.spec.tokens) - 1, f"stream {work.stream} is not completely prefilled"
    tokens = [*stream.tokens[num_cached:], *work.draft_tokens]  # more than one committed token if a source was lost
    num_tokens = num_cached + len(tokens)
    assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
    return Segment(stream.sequence, num_cached, tokens, len(work.draft_tokens) + 1)


def _outcome(stream: _Stream, work: Work, logits: Rows) -> Outcome:
    """Verify and commit. `logits` is [rows that need logits, vocab]."""
    if isinstance(work, Prefill):
        stream.num_prefilled += work.num_tokens
        stream.num_cached = stream.num_prefilled
        if len(logits) == 0:
            return Outcome(work.stream, 0, None)
        work = Verify(work.stream, ())
    rows = processed(logits, work.draft_tokens, stream.processors)
    num_accepted, next_token = verify(
        rows, work.draft_tokens, work.draft_probs, stream.spec.sampling, len(stream.tokens)
    )
    committed = (*work.draft_tokens[:num_accepted], next_token)
    logprobs = _logprobs(logits, committed) if stream.spec.logprobs else ()
    stream.tokens.extend(committed)
    for processor in stream.processors:
        processor.commit(committed)
    stream.num_cached = len(stream.tokens) - 1
    return Outcome(work.stream, num_accepted, next_token, logprobs)


def _logprobs(logits: Rows, committed: Sequence[int]) -> tuple[float, ...]:
    rows = logits[: len(committed)].astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    log_totals = np.log(np.exp(rows).sum(axis=1))
    return tuple(float(rows[i, token] - log_totals[i]) for i, token in enumerate(committed))
