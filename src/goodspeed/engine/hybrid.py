"""The hybrid draft engine: each token comes from the source with the highest calibrated confidence.

With one source it drafts from that source only (prompt lookup, n-gram table). Every token is a function of the prefix.
So the rejection rule needs no draft probabilities (they are one-hot), and a low confidence may end a draft anywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from goodspeed.decoding.draft import Draft, DraftRequest, StreamKey
from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.calibration import NUM_TEMPERATURE_BUCKETS, Calibration, Cell, count, estimate, temperature_bucket
from goodspeed.engine.draft_source import (
    COARSE_SHIFT,
    EVIDENCE_BITS,
    EVIDENCE_MASK,
    BatchedDraftSource,
    DraftSource,
    PackedGuess,
    Prefix,
    StreamGuesser,
)

CONFIDENT = 0.7
"""From this confidence on, the draft model is not run: a pass per token could gain at most 0.3 tokens."""
MAX_SOURCES = 3  # _pattern compares each with two others
BUCKET_SOURCES = 4  # the evidence of so many sources fits into the 63 bits of a bucket

Support = tuple[int, list[Cell], float]
"""One candidate of a pattern of guesses: the first source that proposes it, its counts, and its prior Pr(right)."""

Evidence = tuple[int, tuple[int, int, int], float]
"""The same for every calibration: with buckets instead of counts."""
Trial = tuple[list[PackedGuess], list[Support]]
"""The guesses at one position and their candidates; NO_TRIAL where a token was not drafted here."""
NO_TRIAL: Trial = ([], [])


class DraftKnowledge:
    """What streams draft from: sources, and how reliable each kind of their evidence is."""

    def __init__(self, sources: Sequence[DraftSource], calibration: Calibration) -> None:
        self.sources = tuple(sources)
        self.calibration = calibration
        self.supports: tuple[dict[int, list[Support]], ...] = tuple({} for _ in range(NUM_TEMPERATURE_BUCKETS))
        """By temperature bucket, the candidates of each pattern of guesses that was seen."""


@dataclass(slots=True)
class _Stream:
    prefix: Prefix
    knowledge: DraftKnowledge
    guessers: list[StreamGuesser]
    supports: dict[int, list[Support]]
    """Those of the stream's temperature in its knowledge."""
    trials: list[Trial] = field(default_factory=list)
    """For each drafted position, and for the one at which a low confidence ended the draft."""
    confidences: list[float] = field(default_factory=list)
    """Of the last request's tokens. Those before them are its `after`."""
    survival: float = 1.0
    """Product of the confidences."""
    guesses: list[PackedGuess] = field(default_factory=list)
    """While the neural source is waited for, the guesses of the others."""


class HybridDraft:
    """A DraftEngine over several sources. It learns from committed tokens how reliable each kind of evidence is."""

    def __init__(self, knowledge: DraftKnowledge, neural: BatchedDraftSource | None = None) -> None:
        """`neural`: a source that costs a forward pass per token, used only where the others are not confident."""
        assert 0 < len(knowledge.sources) + (neural is not None) <= MAX_SOURCES
        self.knowledge = knowledge
        self._neural = neural
        self._streams: dict[StreamKey, _Stream] = {}
        self._evidence: dict[tuple[int, int], list[Evidence]] = {}  # by temperature bucket and pattern

    @property
    def sources(self) -> tuple[DraftSource | BatchedDraftSource, ...]:
        """All sources, the neural one last."""
        return self.knowledge.sources if self._neural is None else (*self.knowledge.sources, self._neural)

    @property
    def calibration(self) -> Calibration:
        return self.knowledge.calibration

    def open(self, stream: StreamKey, tokens: Sequence[int], sampling: Sampling) -> None:
        self.open_with(self.knowledge, stream, tokens, sampling)

    def open_with(
        self, knowledge: DraftKnowledge, stream: StreamKey, tokens: Sequence[int], sampling: Sampling
    ) -> None:
        """Start a stream that drafts from other knowledge, and adds to it. It has sources of the same kinds."""
        prefix = Prefix(stream, tokens, sampling)
        guessers = [source.open(prefix) for source in knowledge.sources]
        if self._neural is not None:
            self._neural.open(prefix)
        supports = knowledge.supports[temperature_bucket(sampling.temperature)]
        self._streams[stream] = _Stream(prefix, knowledge, guessers, supports)

    def read_later(self) -> None:
        if self._neural is not None:
            self._neural.read_later()

    def catch_up(self) -> bool:
        return self._neural is not None and self._neural.catch_up()

    def draft(self, requests: Sequence[DraftRequest]) -> list[Draft]:
        active = []
        for request in requests:
            stream = self._streams[request.stream]
            _rewind(stream, request.after)
            if request.max_tokens > 0 and self._run(stream, request):
                active.append((stream, request))
        while active and self._neural is not None:
            advice = self._neural.guesses([stream.prefix for stream, _ in active])
            pairs = zip(active, advice, strict=True)
            active = [pair for pair, guess in pairs if self._run(*pair, [*pair[0].guesses[:-1], guess])]
        return [_drafted(self._streams[request.stream]) for request in requests]

    def commit(self, stream: StreamKey, tokens: Sequence[int]) -> None:
        state = self._streams[stream]
        _learn(state, tokens)
        following = state.prefix.commit(tokens)
        for guesser in state.guessers:
            guesser.commit()
        if following:
            state.prefix.rewind(following)
        state.trials = state.trials[len(tokens) :] if following else []

    def close(self, stream: StreamKey) -> None:
        closed = self._streams.pop(stream)
        for guesser in closed.guessers:
            guesser.close()
        if self._neural is not None:
            self._neural.close(closed.prefix)

    def _run(self, stream: _Stream, request: DraftRequest, guesses: list[PackedGuess] | None = None) -> bool:
        """Draft until the draft is complete, or until the neural source is needed for the next token: then True.

        `guesses`: those for the first token, if the neural source is one of them.
        """
        prefix, confidences, survival = stream.prefix, stream.confidences, stream.survival
        may_ask = self._neural is not None and guesses is None
        while len(confidences) < request.max_tokens:
            if guesses is None:
                guesses = self._guesses(stream)
            supports = stream.supports.get(_pattern(guesses))
            if supports is None:
                supports = self._supports(stream, guesses)
            token, confidence = _best(guesses, supports)
            if may_ask and confidence < CONFIDENT:
                stream.guesses, stream.survival = guesses, survival
                return True
            if not supports:
                return False
            stream.trials.append((guesses, supports))
            survival *= confidence
            if survival < request.min_survival:
                return False
            confidences.append(confidence)
            prefix.append(token)
            guesses, may_ask = None, self._neural is not None
        return False

    def _guesses(self, stream: _Stream) -> list[PackedGuess]:
        """One per source; 0 for those after a decisive guess, and for the neural one, which is not asked here."""
        guesses = []
        is_decided = False
        for guesser in stream.guessers:
            guess = 0 if is_decided else guesser.guess()
            guesses.append(guess)
            is_decided = is_decided or 0 < guess & EVIDENCE_MASK < guesser.decisive_below
        if self._neural is not None:
            guesses.append(0)
        return guesses

    def _supports(self, stream: _Stream, guesses: Sequence[PackedGuess]) -> list[Support]:
        """One per token that is proposed, in the sources' order, for a pattern of guesses that is new to the stream."""
        temperature = temperature_bucket(stream.prefix.sampling.temperature)
        key = temperature, _pattern(guesses)
        evidence = self._evidence.get(key)
        if evidence is None:
            evidence = self._evidence[key] = evidence_of(guesses, temperature, self.sources)
        cells = stream.knowledge.calibration.cells
        supports = [(source, cells(buckets), prior) for source, buckets, prior in evidence]
        stream.supports[key[1]] = supports
        return supports


def _rewind(stream: _Stream, after: Sequence[int]) -> None:
    """Make `after` the drafted tokens; trials are kept where the tokens before them stay."""
    stream.confidences.clear()
    stream.survival = 1.0
    if not after:
        stream.trials.clear()
        stream.prefix.rewind()
        return
    num_kept = stream.prefix.num_matching(after)
    stream.prefix.rewind(after)
    del stream.trials[min(num_kept + 1, len(after)) :]
    stream.trials.extend([NO_TRIAL] * (len(after) - len(stream.trials)))


def _learn(stream: _Stream, tokens: Sequence[int]) -> None:
    """Compare the last draft with the committed tokens up to the first difference; later positions are unknown."""
    drafted = stream.prefix.drafted
    for i, (token, (guesses, supports)) in enumerate(zip(tokens, stream.trials, strict=False)):
        for source, cells, _ in supports:
            count(cells, guesses[source] >> EVIDENCE_BITS == token)
        if i == len(drafted) or drafted[i] != token:
            return


def _drafted(stream: _Stream) -> Draft:
    tokens = stream.prefix.tokens
    return Draft(tuple(tokens[len(tokens) - len(stream.confidences) :]), tuple(stream.confidences))


def _best(guesses: Sequence[PackedGuess], supports: Sequence[Support]) -> tuple[int, float]:
    """The candidate with the highest confidence, the first of equals, and its confidence: 0 without a candidate."""
    best_source, best = 0, 0.0
    for source, cells, prior in supports:
        confidence = estimate(cells, prior)
        if confidence > best:
            best_source, best = source, confidence
    return guesses[best_source] >> EVIDENCE_BITS, best


def _pattern(guesses: Sequence[PackedGuess]) -> int:
    """All sources' evidence, and which of them propose the same token."""
    first = previous = guesses[0]
    pattern: int = first & EVIDENCE_MASK
    for guess in guesses[1:]:
        is_first, is_previous = guess ^ first <= EVIDENCE_MASK, guess ^ previous <= EVIDENCE_MASK
        pattern = pattern << EVIDENCE_BITS + 2 | (guess & EVIDENCE_MASK) << 2 | is_first << 1 | is_previous
        previous = guess
    return pattern


def evidence_of(
    guesses: Sequence[PackedGuess], temperature: int, sources: Sequence[DraftSource | BatchedDraftSource]
) -> list[Evidence]:
    """The candidates of these guesses, one for each token that is proposed, in the sources' order."""
    priors = [source.priors[guess & EVIDENCE_MASK] for source, guess in zip(sources, guesses, strict=True)]
    evidence = []
    for token in dict.fromkeys(guess >> EVIDENCE_BITS for guess in guesses if guess):
        first = next(i for i, guess in enumerate(guesses) if guess and guess >> EVIDENCE_BITS == token)
        evidence.append((first, _buckets(token, temperature, guesses), _prior_of(token, guesses, priors)))
    return evidence


def _buckets(token: int, temperature: int, guesses: Sequence[PackedGuess]) -> tuple[int, int, int]:
    """Three buckets of evidence for `token`, coarsest first.

    Each bucket encodes the temperature bucket and which sources propose the token. The first adds the evidence of the
    first source that proposes it. The second adds the coarse evidence of all sources, the third their full evidence.
    """
    kind = temperature
    coarse = fine = first = 0
    for guess in guesses:
        evidence = guess & EVIDENCE_MASK
        supports = guess > 0 and guess >> EVIDENCE_BITS == token
        kind = kind << 1 | supports
        fine = fine << EVIDENCE_BITS | evidence
        coarse = coarse << EVIDENCE_BITS | (evidence >> COARSE_SHIFT)
        first = first or (evidence if supports else 0)
    kind <<= 2
    return (
        kind << EVIDENCE_BITS | first,
        ((kind | 1) << EVIDENCE_BITS | first) << BUCKET_SOURCES * EVIDENCE_BITS | coarse,
        (kind | 2) << BUCKET_SOURCES * EVIDENCE_BITS | fine,
    )


def _prior_of(token: int, guesses: Sequence[PackedGuess], priors: Sequence[float]) -> float:
    """Pr(right) of a token before any observation, if the sources err independently."""
    doubt = against = 1.0
    for guess, prior in zip(guesses, priors, strict=True):
        if guess and guess >> EVIDENCE_BITS == token:
            doubt *= 1.0 - prior
        elif guess:
            against *= 1.0 - prior
    support = (1.0 - doubt) * against
    return support / (support + doubt)
