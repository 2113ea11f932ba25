"""The llama.cpp target engine: one sequence per stream, one forward pass per batch, then each stream's rule."""

from collections.abc import Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logprobs import logprobs_of
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import CachedPrefix, Outcome, StreamSpec, TargetInfo, Verify, Work
from goodspeed.engine.llama_cpp.forward import Forward, Rows, Segment
from goodspeed.engine.target_stream import Logprobs, TargetStream
from goodspeed.engine.thread_choice import ThreadChoice


class _Stream(TargetStream[Rows]):
    def __init__(self, spec: StreamSpec, grammars: Grammars | None, sequence: int) -> None:
        super().__init__(spec, grammars)
        self.sequence = sequence

    def _verify(self, work: Verify, logits: Rows) -> tuple[int, int]:
        return self._verify_rows(work, logits)

    def _logprobs(self, logits: Rows, tokens: Sequence[int]) -> Logprobs:
        return logprobs_of(logits[: len(tokens)], tokens, self.spec.top_logprobs)


class LlamaTarget:
    """A TargetEngine with llama.cpp. A violation of the TargetEngine contract fails an assertion."""

    def __init__(
        self,
        forward: Forward,
        info: TargetInfo,
        is_batch_invariant: bool,
        grammars: Grammars | None = None,
        threads: ThreadChoice | None = None,  # None: the number of threads is left as it is
    ) -> None:
        self.info = info
        self.grammars = grammars
        self.is_batch_invariant = is_batch_invariant
        """Result of the self-check on this machine: logits do not depend on the rest of the batch, to the bit."""
        self._forward = forward
        self._cells = forward.cells
        self._threads = threads
        self._streams: dict[StreamKey, _Stream] = {}
        self._retained: dict[StreamKey, int | None] = {}
        """The sequence of each retained stream; None if an open stream has needed it."""

    @property
    def num_open(self) -> int:
        """Number of open streams."""
        return len(self._streams)

    def open(self, stream: StreamKey, spec: StreamSpec) -> None:
        assert stream not in self._streams, f"stream {stream} is open"
        opened = _Stream(spec, self.grammars, self._new_sequence())
        source = self._source(spec.prefix) if spec.prefix else None
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

    def _source(self, prefix: CachedPrefix) -> int | None:
        running = self._streams.get(prefix.source)
        if running is None:
            return self._retained[prefix.source]
        return running.sequence if prefix.num_tokens <= running.num_cached else None

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
        logits = self._run(segments)
        outcomes = [stream.outcome(work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]
        for stream in reversed(streams):  # the last cells first, so that they become free and not garbage
            self._cells.truncate(stream.sequence, stream.num_cached)
        return outcomes

    def _run(self, segments: Sequence[Segment]) -> list[Rows]:
        if self._threads is None:
            return self._forward.run(segments)
        num_rows = sum(len(segment.tokens) for segment in segments)
        return self._threads.run(num_rows, self._cells.context.set_threads, lambda: self._forward.run(segments))


def _segment(stream: _Stream, work: Work) -> Segment:
    tokens, num_logits = stream.new_tokens(work)
    return Segment(stream.sequence, stream.num_cached, tokens, num_logits)
