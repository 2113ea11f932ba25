"""The hybrid draft engine of lookup and n-gram table in machine code: drafts of a verifier for many streams.

It drafts what hybrid.HybridDraft does, in a fifth of the time and without the interpreter's lock. It needs numba (extra
`fast`); the inner loops are in hybrid_kernels.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine import hybrid_kernels as kernels
from goodspeed.engine.calibration import Calibration, temperature_bucket
from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS
from goodspeed.engine.hybrid import evidence_of
from goodspeed.engine.lookup import LENGTHS, LookupSource
from goodspeed.engine.ngram_table import KINDS, LEARNED_TOGETHER, NUM_KINDS, SET_SIZE, NGramSource, NGramTable

INDEXED_TOGETHER = 8192
"""Tokens of a long prefix that are indexed at once, in about 2 ms; older ones follow with later commits."""
MAX_LOAD = 0.6
"""Share of the index that is in use at most: it doubles beyond."""
MIN_INDEX, MIN_TEXT, MIN_TRIALS = 64, 256, 16
ALL_KINDS = np.frombuffer(KINDS, np.uint8).copy()  # a copy, because kernels are compiled for writable arrays


@dataclass(frozen=True, slots=True)
class Candidates:
    """The tokens that pairs of guesses propose, and the cells of their evidence, at one temperature."""

    rows: kernels.Ints  # `candidates` of the kernels
    priors: kernels.Floats
    buckets: tuple[int, ...]
    """The calibration's bucket of each cell."""


@cache
def candidates_at(temperature: int) -> Candidates:
    """For every pair of kinds of guesses; `temperature` is the class of calibration.temperature_bucket."""
    sources = (LookupSource(), NGramSource(NGramTable(SET_SIZE)))
    num_rows = kernels.NUM_LOOKUP * kernels.NUM_TABLE * 2
    rows = np.full((num_rows, 2, 4), -1, np.int32)
    priors = np.zeros((num_rows, 2))
    cells: dict[int, int] = {}
    for row in range(num_rows):
        guesses = _guesses(row)
        for i, (source, buckets, prior) in enumerate(evidence_of(guesses, temperature, sources)):
            rows[row, i] = source, *(cells.setdefault(bucket, len(cells)) for bucket in buckets)
            priors[row, i] = prior
    return Candidates(rows, priors, tuple(cells))


def _guesses(row: int) -> list[int]:
    """Packed guesses of lookup and table that belong to the row; which tokens they are does not matter."""
    pair, is_same = divmod(row, 2)
    lookup_kind, table_kind = divmod(pair, kernels.NUM_TABLE)
    lookup = table = 0
    if lookup_kind:
        which, agreed = divmod(lookup_kind - 1, 2)
        lookup = 1 << EVIDENCE_BITS | which + 1 << COARSE_SHIFT | agreed
    if table_kind:
        order, kind = divmod(table_kind - 1, NUM_KINDS)
        table = 2 - is_same << EVIDENCE_BITS | order + 1 << COARSE_SHIFT | kind
    return [lookup, table]


def table_array(table: NGramTable) -> kernels.Table:
    """The table as the kernels read it."""
    arrays = table.arrays()
    counts = [arrays[name].astype(np.uint32) for name in ("total", "first_count", "second_count")]
    packed = counts[0] << 16 | counts[1] << 8 | counts[2]
    return np.stack([arrays["check"], arrays["first"].astype(np.uint32), arrays["second"].astype(np.uint32), packed], 1)


class CompiledKnowledge:
    """What streams draft from: an n-gram table on a base, which it does not change, and calibration counts."""

    def __init__(self, num_slots: int, base: kernels.Table, calibration: Calibration) -> None:
        self._table = table_array(NGramTable(num_slots))
        self._base = base
        self._calibration = calibration
        self._at: dict[int, kernels.KnowledgeArrays] = {}

    def at(self, temperature: int) -> kernels.KnowledgeArrays:
        """For streams of this class of temperatures; the counts start from those of the calibration."""
        if temperature not in self._at:
            candidates = candidates_at(temperature)
            cells = np.array(self._calibration.counts(candidates.buckets), np.float64)
            self._at[temperature] = (self._table, self._base, ALL_KINDS, candidates.rows, candidates.priors, cells)
        return self._at[temperature]


def compile_kernels() -> None:
    """Compile, which takes some ten seconds at the first start on a machine, or load what was compiled before."""
    engine, text = CompiledHybridDraft(), list(range(LEARNED_TOGETHER)) * 2
    engine.open_with(CompiledKnowledge(SET_SIZE, table_array(NGramTable(SET_SIZE)), Calibration()), 0, text, Sampling())
    engine.draft([DraftRequest(0, 2)])
    engine.commit(0, text)
    engine.close(0)


@dataclass(slots=True)
class _Stream:
    known: kernels.KnowledgeArrays
    text: kernels.Ints
    ngrams: kernels.Index
    trials: kernels.Ints
    confidences: kernels.Floats
    num_committed: int
    num_tokens: int  # with the drafted ones
    num_learned: int  # tokens that the table knows, or shall not learn
    num_left: int  # the first tokens, which are not indexed yet
    num_ngrams: int = 0
    num_trials: int = 0

    @property
    def arrays(self) -> kernels.StreamArrays:
        """For the kernels."""
        return self.text, self.ngrams, self.trials, self.confidences


class CompiledHybridDraft:
    """Lookup and n-gram table for the streams of a verifier."""

    def __init__(self) -> None:
        self._streams: dict[StreamKey, _Stream] = {}

    def open_with(
        self, knowledge: CompiledKnowledge, stream: StreamKey, tokens: Sequence[int], sampling: Sampling
    ) -> None:
        """Start a stream that drafts from this knowledge, and adds to it."""
        num_tokens = len(tokens)
        text = np.empty(max(MIN_TEXT, 2 * num_tokens), np.int32)
        text[:num_tokens] = tokens
        num_left = max(0, num_tokens - INDEXED_TOGETHER)
        opened = self._streams[stream] = _Stream(
            knowledge.at(temperature_bucket(sampling.temperature)),
            text,
            np.zeros(MIN_INDEX, np.int64),
            np.empty((MIN_TRIALS, 3), np.int32),
            np.empty(MIN_TRIALS),
            num_committed=num_tokens,
            num_tokens=num_tokens,
            num_learned=num_tokens,
            num_left=num_left,
        )
        _index(opened, num_left, num_tokens)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        """One draft per request, in order."""
        return [_draft(self._streams[request.stream], request) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        """Extend the committed text, and learn from it."""
        state, new = self._streams[stream], np.array(tokens, np.int32)
        start, stop = state.num_committed, state.num_committed + len(new)
        kernels.learn_calibration(state.arrays, state.known, start, state.num_tokens, state.num_trials, new)
        _make_room(state, stop)
        state.text[start:stop] = new
        state.num_committed = state.num_tokens = stop
        state.num_trials = 0
        _index(state, start, stop)
        if state.num_left:
            older = max(0, state.num_left - INDEXED_TOGETHER)
            _index(state, older, state.num_left)
            state.num_left = older
        if stop - state.num_learned >= LEARNED_TOGETHER:
            _learn_table(state)

    def close(self, stream: StreamKey) -> None:
        """End the stream; what was not learned yet is learned now."""
        _learn_table(self._streams.pop(stream))


def _draft(stream: _Stream, request: DraftRequest) -> Draft:
    if request.after or stream.num_trials:
        _rewind(stream, request.after)
    start = stream.num_committed + len(request.after)
    _make_room(stream, start + request.max_tokens)
    num_drafted, stream.num_trials = kernels.draft(
        stream.arrays,
        stream.known,
        stream.num_committed,
        start,
        stream.num_trials,
        request.max_tokens,
        request.min_survival,
    )
    stream.num_tokens = start + num_drafted
    tokens, confidences = stream.text[start : stream.num_tokens], stream.confidences[:num_drafted]
    return Draft(tuple(tokens.tolist()), tuple(confidences.tolist()))


def _rewind(stream: _Stream, after: Sequence[int]) -> None:
    """Make `after` the drafted tokens; trials are kept where the tokens before them stay."""
    start, num_after = stream.num_committed, len(after)
    drafted = stream.text[start : stream.num_tokens].tolist()
    num_kept = next((i for i, (a, b) in enumerate(zip(after, drafted, strict=False)) if a != b), len(drafted))
    _make_room(stream, start + num_after)
    stream.text[start : start + num_after] = after
    stream.trials[min(stream.num_trials, num_kept + 1) : num_after, 0] = -1
    stream.num_trials = num_after


def _make_room(stream: _Stream, num_tokens: int) -> None:
    """Room for so many tokens, drafted ones included."""
    if num_tokens > len(stream.text):
        stream.text = np.resize(stream.text, max(num_tokens, 2 * len(stream.text)))
    num_trials = num_tokens - stream.num_committed + 1
    if num_trials > len(stream.trials):
        stream.trials = np.resize(stream.trials, (2 * num_trials, 3))
        stream.confidences = np.resize(stream.confidences, 2 * num_trials)


def _index(stream: _Stream, start: int, stop: int) -> None:
    needed = (stream.num_ngrams + len(LENGTHS) * (stop - start)) / MAX_LOAD
    if needed > len(stream.ngrams):
        larger = np.zeros(1 << int(needed).bit_length(), np.int64)
        kernels.copy_ngrams(stream.ngrams, larger)
        stream.ngrams = larger
    stream.num_ngrams += kernels.add_ngrams(stream.text, start, stop, stream.ngrams)


def _learn_table(stream: _Stream) -> None:
    table, base, *_ = stream.known
    kernels.learn_table(table, base, stream.text, stream.num_learned, stream.num_committed)
    stream.num_learned = stream.num_committed
