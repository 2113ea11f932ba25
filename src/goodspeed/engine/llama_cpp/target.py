"""The llama.cpp target engine: one sequence per stream, one forward pass per batch, then each stream's rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from goodspeed.decoding.draft import StreamKey
from goodspeed.decoding.logits_processor import processed
from goodspeed.decoding.logprobs import TopTokens, logprobs_of
from goodspeed.decoding.rules import verify
from goodspeed.engine.grammar.grammars import Grammars
from goodspeed.engine.interface import CachedPrefix, Outcome, Prefill, StreamSpec, TargetInfo, Verify, Work
from goodspeed.engine.llama_cpp.forward import Forward, Rows, Segment
from goodspeed.engine.logits_processors import Processors, failure_of, logits_processors


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
    prompt_logprobs: tuple[float, ...] = ()
    """Of the prefilled tokens, if requested, as prompt_top_logprobs."""
    prompt_top_logprobs: tuple[TopTokens, ...] = ()

    @property
    def num_to_prefill(self) -> int:
        """Prefix tokens that are not prefilled yet."""
        return len(self.spec.tokens) - self.num_prefilled


class LlamaTarget:
    """A TargetEngine with llama.cpp. A violation of the TargetEngine contract fails an assertion."""

    def __init__(
        self, forward: Forward, info: TargetInfo, is_batch_invariant: bool, grammars: Grammars | None = None
    ) -> None:
        self.info = info
        self.grammars = grammars
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
        opened = _Stream(spec, self._new_sequence(), list(spec.tokens), logits_processors(spec, self.grammars))
        if spec.prefix:
            opened.num_prefilled = spec.prefix.num_tokens
            assert opened.num_prefilled < len(spec.tokens), f"all of {len(spec.tokens)} tokens are cached"
            source = self._source(spec.prefix)
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
        logits = self._forward.run(segments)
        outcomes = [_outcome(stream, work, rows) for stream, work, rows in zip(streams, batch, logits, strict=True)]
        for stream in reversed(streams):  # the last cells first, so that they become free and not garbage
            self._cells.truncate(stream.sequence, stream.num_cached)
        return outcomes


def _segment(stream: _Stream, work: Work) -> Segment:
    """The tokens that run through the model for this work item, and how many of their rows need logits."""
    num_cached = stream.num_cached
    if isinstance(work, Prefill):
        remaining = stream.num_to_prefill
        assert 0 < work.num_tokens <= remaining, f"prefill of {work.num_tokens}, {remaining} remain"
        tokens = stream.tokens[num_cached : stream.num_prefilled + work.num_tokens]
        num_logits = len(tokens) if stream.spec.prompt_logprobs else int(work.num_tokens == remaining)
        return Segment(stream.sequence, num_cached, tokens, num_logits)
    assert stream.num_to_prefill <= 1, f"stream {work.stream} is not completely prefilled"
    num_tokens = len(stream.tokens) + len(work.draft_tokens)
    assert num_tokens <= stream.spec.capacity, f"{num_tokens} tokens in a capacity of {stream.spec.capacity}"
    tokens = [*stream.tokens[num_cached:], *work.draft_tokens]
    return Segment(stream.sequence, num_cached, tokens, 1 + len(work.draft_tokens))


def _outcome(stream: _Stream, work: Work, logits: Rows) -> Outcome:
    """Verify and commit. `logits` is [rows that need logits, vocab]."""
    if not isinstance(work, Prefill):
        return _commit(stream, work, logits)
    if stream.spec.prompt_logprobs:
        _score_prompt(stream, logits)
    stream.num_prefilled += work.num_tokens
    stream.num_cached = stream.num_prefilled
    if stream.num_to_prefill:
        return Outcome(work.stream, 0, None)
    return replace(
        _commit(stream, Verify(work.stream, ()), logits[-1:]),
        prompt_logprobs=stream.prompt_logprobs,
        prompt_top_logprobs=stream.prompt_top_logprobs,
    )


def _commit(stream: _Stream, work: Verify, logits: Rows) -> Outcome:
    spec = stream.spec
    rows = processed(logits, work.draft_tokens, stream.processors)
    num_accepted, next_token = verify(rows, work.draft_tokens, work.draft_probs, spec.sampling, len(stream.tokens))
    committed = (*work.draft_tokens[:num_accepted], next_token)
    logprobs, top = logprobs_of(logits[: len(committed)], committed, spec.top_logprobs) if spec.logprobs else ((), ())
    stream.tokens.extend(committed)
    for processor in stream.processors:
        processor.commit(committed)
    stream.num_prefilled = len(spec.tokens)
    stream.num_cached = len(stream.tokens) - 1
    return Outcome(work.stream, num_accepted, next_token, logprobs, failure_of(stream.processors), top_logprobs=top)


def _score_prompt(stream: _Stream, logits: Rows) -> None:
    """Keep the log-probabilities of the prompt's tokens that follow those of a prefill. `logits` is [tokens, vocab]."""
    following = stream.tokens[stream.num_cached + 1 : stream.num_cached + 1 + len(logits)]
    if following:
        logprobs, top = logprobs_of(logits[: len(following)], following, stream.spec.top_logprobs)
        stream.prompt_logprobs += logprobs
        stream.prompt_top_logprobs += top
