"""The hybrid draft engine: each token comes from the source with the highest calibrated confidence.

With one source it drafts from that source only (prompt lookup, n-gram table). Every token is a function of the prefix.
So the rejection rule needs no draft probabilities (they are one-hot), and a low confidence may end a draft anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import Calibration, temperature_bucket
from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS, DraftSource, Guess, Prefix

CONFIDENT = 0.7
"""From this confidence on, the draft model is not run: a pass per token could gain at most 0.3 tokens."""
MAX_SOURCES = 4  # the evidence of all sources must fit into the 63 bits of a bucket


@dataclass(frozen=True, slots=True)
class CandidateToken:
    """A token that at least one source proposes."""

    token: int
    buckets: tuple[int, ...]
    """Its evidence, coarsest bucket first."""
    confidence: float


@dataclass(slots=True)
class _Stream:
    prefix: Prefix
    candidates: list[list[CandidateToken]] = field(default_factory=list)
    """For each drafted position, and for the one at which a low confidence ended it; empty for tokens of others."""
    confidences: list[float] = field(default_factory=list)
    """Of the last request's tokens. Those before them are its `after`."""
    survival: float = 1.0


class HybridDraft:
    """A DraftEngine over several sources. It learns from committed tokens how reliable each kind of evidence is."""

    def __init__(
        self, sources: Sequence[DraftSource], calibration: Calibration, neural: DraftSource | None = None
    ) -> None:
        """`neural`: a source that costs a forward pass per token, used only where the others are not confident."""
        self.sources = tuple(sources) if neural is None else (*sources, neural)
        assert 0 < len(self.sources) <= MAX_SOURCES
        self.calibration = calibration
        self._streams: dict[StreamKey, _Stream] = {}
        self._cheap = tuple(sources)
        self._neural = neural

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        prefix = Prefix(stream, tokens, sampling)
        for source in self.sources:
            source.open(prefix)
        self._streams[stream] = _Stream(prefix)

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        streams = [self._streams[request.stream] for request in requests]
        for stream, request in zip(streams, requests, strict=True):
            self._rewind(stream, request.after)
        active = [pair for pair in zip(streams, requests, strict=True) if pair[1].max_tokens > 0]
        while active:
            known = self._all_candidates([stream.prefix for stream, _ in active])
            pairs = zip(active, known, strict=True)
            active = [pair for pair, candidates in pairs if _advance(*pair, candidates)]
        return [_drafted(stream) for stream in streams]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        state = self._streams[stream]
        self._learn(state, tokens)
        for source in self.sources:
            source.rewind(state.prefix)
        following = state.prefix.commit(tokens)
        for source in self.sources:
            source.commit(state.prefix)
        state.prefix.rewind(following)
        state.candidates = state.candidates[len(tokens) :] if following else []

    def close(self, stream: StreamKey) -> None:
        prefix = self._streams.pop(stream).prefix
        for source in self.sources:
            source.close(prefix)

    def _rewind(self, stream: _Stream, after: Sequence[int]) -> None:
        """Make `after` the drafted tokens; candidates are kept where the tokens before them stay."""
        num_kept = stream.prefix.num_matching(after)
        if num_kept < len(stream.prefix.drafted):
            for source in self.sources:
                source.rewind(stream.prefix)
        stream.prefix.rewind(after)
        del stream.candidates[min(num_kept + 1, len(after)) :]
        stream.candidates.extend([] for _ in range(len(after) - len(stream.candidates)))
        stream.confidences.clear()
        stream.survival = 1.0

    def _all_candidates(self, prefixes: Sequence[Prefix]) -> list[list[CandidateToken]]:
        """The candidates for the next token of each prefix; the neural source runs once, for the unsure prefixes."""
        guesses = list(zip(*(source.guesses(prefixes) for source in self._cheap), strict=True))
        if self._neural is None:
            return [self._candidates(prefix.sampling, g) for prefix, g in zip(prefixes, guesses, strict=True)]
        known = [self._candidates(prefix.sampling, (*g, None)) for prefix, g in zip(prefixes, guesses, strict=True)]
        unsure = [i for i, candidates in enumerate(known) if not candidates or _best(candidates).confidence < CONFIDENT]
        if unsure:
            for i, advice in zip(unsure, self._neural.guesses([prefixes[i] for i in unsure]), strict=True):
                known[i] = self._candidates(prefixes[i].sampling, (*guesses[i], advice))
        return known

    def _candidates(self, sampling: Sampling, guesses: Sequence[Guess | None]) -> list[CandidateToken]:
        candidates = []
        for token in {guess.token: None for guess in guesses if guess is not None}:  # in the sources' order
            buckets, prior = _buckets(token, sampling, guesses)
            candidates.append(CandidateToken(token, buckets, self.calibration.confidence(buckets, prior)))
        return candidates

    def _learn(self, stream: _Stream, tokens: Sequence[int]) -> None:
        """Compare the last draft with the committed tokens up to the first difference; later positions are unknown."""
        drafted = stream.prefix.drafted
        for i, (token, candidates) in enumerate(zip(tokens, stream.candidates, strict=False)):
            for candidate in candidates:
                self.calibration.observe(candidate.buckets, candidate.token == token)
            if i == len(drafted) or drafted[i] != token:
                return


def _drafted(stream: _Stream) -> Draft:
    tokens = stream.prefix.tokens
    return Draft(tuple(tokens[len(tokens) - len(stream.confidences) :]), tuple(stream.confidences))


def _advance(stream: _Stream, request: DraftRequest, candidates: list[CandidateToken]) -> bool:
    """Draft one more token. False if it is the last one, or if a low confidence ends the draft before it."""
    if not candidates:
        return False
    stream.candidates.append(candidates)
    best = _best(candidates)
    survival = stream.survival * best.confidence
    if survival < request.min_survival:
        return False
    stream.survival = survival
    stream.confidences.append(best.confidence)
    stream.prefix.tokens.append(best.token)
    return len(stream.confidences) < request.max_tokens


def _best(candidates: Sequence[CandidateToken]) -> CandidateToken:
    return max(candidates, key=lambda candidate: candidate.confidence)


def _buckets(token: int, sampling: Sampling, guesses: Sequence[Guess | None]) -> tuple[tuple[int, int, int], float]:
    """Three buckets of evidence for `token`, coarsest first, and the prior Pr(right).

    Each bucket encodes the sampling class and which sources propose the token. The first adds the evidence of the
    first source that proposes it. The second adds the coarse evidence of all sources, the third their full evidence.
    The prior assumes that the sources err independently.
    """
    kind = temperature_bucket(sampling.temperature)
    coarse = fine = first = 0
    doubt = against = 1.0
    for guess in guesses:
        evidence = guess.evidence if guess is not None else 0
        supports = guess is not None and guess.token == token
        kind = kind << 1 | supports
        fine = fine << EVIDENCE_BITS | evidence
        coarse = coarse << EVIDENCE_BITS | (evidence >> COARSE_SHIFT)
        if guess is not None and supports:
            first = first or evidence
            doubt *= 1.0 - guess.prior
        elif guess is not None:
            against *= 1.0 - guess.prior
    kind <<= 2
    support = (1.0 - doubt) * against
    return (
        kind << EVIDENCE_BITS | first,
        ((kind | 1) << EVIDENCE_BITS | first) << MAX_SOURCES * EVIDENCE_BITS | coarse,
        (kind | 2) << MAX_SOURCES * EVIDENCE_BITS | fine,
    ), support / (support + doubt)
