"""Prompt lookup at every token: guess the token that followed the latest earlier occurrence of the last tokens.

Each stream has an index from every n-gram of a few lengths to the position after its latest occurrence. A guess costs
one dictionary lookup per length, longest first, independent of the length of the prefix. Prompt lookup decoding (Saxena
2023) instead looks up once per round and copies the tokens that follow.
"""

from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS, TAIL, PackedGuess, Prefix, text_of

LENGTHS = (8, 5, 3, 2, 1)
"""Suffix lengths that are looked up, longest first. More did not raise acceptance (docs/measurements/log.md)."""

PRIORS = ((0.84, 0.97), (0.70, 0.88), (0.59, 0.79), (0.49, 0.74), (0.22, 0.57))
"""Per length, the measured share of right guesses: if the last two occurrences differ, and if they agree."""

DECISIVE = 3
"""So many of the LENGTHS are decisive: asking the table as well costs 1.5 µs and did not raise acceptance."""

INDEXED_TOGETHER = 1024
"""Tokens of a long prefix that are indexed at once, which takes 2 ms; the rest follows with later commits."""


class SuffixIndex:
    """The latest occurrence of each n-gram of a stream's committed tokens, and guesses from it.

    An entry is 2 * position + agreed: `position` is that of the token after the latest occurrence, and `agreed` is 1 if
    the occurrence before was followed by the same token. Of a long prefix the end is indexed first, so that no step
    of a verifier waits for a whole book.
    """

    __slots__ = ("_entries", "_num_indexed", "_num_left", "_prefix")
    decisive_below = (DECISIVE + 1) << COARSE_SHIFT

    def __init__(self, prefix: Prefix) -> None:
        self._prefix = prefix
        self._entries: dict[str, int] = {}
        self._num_indexed = len(prefix.tokens)
        self._num_left = max(0, self._num_indexed - INDEXED_TOGETHER)
        """The first tokens, which are not indexed yet."""
        self._add(self._num_left, self._num_indexed, self._entries)

    def guess(self) -> PackedGuess:
        tokens, tail, num_indexed = self._prefix.tokens, self._prefix.tail, self._num_indexed
        if len(tail) < TAIL or (len(tokens) > num_indexed and tokens[-1] in tokens[num_indexed - 1 : -1]):
            return self._guess_with_drafted()
        # From the middle length on, because the suffixes of an n-gram that occurred have occurred too.
        get = self._entries.get
        index, entry = 2, get(tail[-3:])
        if entry is None:
            index, entry = 3, get(tail[-2:])
            if entry is None:
                index, entry = 4, get(tail[-1:])
                if entry is None:
                    return 0
        elif (longer := get(tail[-5:])) is not None:
            index, entry = 1, longer
            if (longest := get(tail)) is not None:
                index, entry = 0, longest
        return tokens[entry >> 1] << EVIDENCE_BITS | (index + 1) << COARSE_SHIFT | entry & 1

    def commit(self) -> None:
        self._add(self._num_indexed, len(self._prefix.tokens), self._entries)
        self._num_indexed = len(self._prefix.tokens)
        if self._num_left:
            self._add_older()

    def close(self) -> None:
        """Nothing to do: the index goes with the stream."""

    def _guess_with_drafted(self) -> PackedGuess:
        """The guess where an n-gram may have occurred before a drafted token, as the last token has: a rare case."""
        tokens, tail = self._prefix.tokens, self._prefix.tail
        drafted: dict[str, int] = {}
        self._add(self._num_indexed, len(tokens), drafted)
        for index, length in enumerate(LENGTHS):
            ngram = tail[-length:]
            entry = drafted.get(ngram) or self._entries.get(ngram)
            if entry is not None and len(ngram) == length:
                return tokens[entry >> 1] << EVIDENCE_BITS | (index + 1) << COARSE_SHIFT | entry & 1
        return 0

    def _add_older(self) -> None:
        """Index the latest tokens that are not indexed yet; occurrences that are in the index are later ones."""
        start = max(0, self._num_left - INDEXED_TOGETHER)
        older: dict[str, int] = {}
        self._add(start, self._num_left, older)
        for ngram, entry in older.items():
            self._entries.setdefault(ngram, entry)
        self._num_left = start

    def _add(self, start: int, stop: int, entries: dict[str, int]) -> None:
        """Add the n-grams before each of the prefix's tokens[start:stop] to `entries`; others are in the index."""
        tokens = self._prefix.tokens
        begin = max(0, start - TAIL)
        text = text_of(tokens[begin:stop])
        get = self._entries.get
        for i in range(start, stop):
            token, end, plain, agreed = tokens[i], i - begin, 2 * i, 2 * i + 1
            for length in LENGTHS:
                if length <= i:
                    ngram = text[end - length : end]
                    last = get(ngram) if entries is self._entries else entries.get(ngram) or get(ngram)
                    entries[ngram] = plain if last is None or tokens[last >> 1] != token else agreed


class LookupSource:
    """Guesses from the stream's own prompt and answer, including drafted tokens."""

    priors = tuple(
        PRIORS[(evidence >> COARSE_SHIFT) - 1][evidence & 1] if evidence >> COARSE_SHIFT else 0.5
        for evidence in range((len(LENGTHS) + 1) << COARSE_SHIFT)
    )

    def open(self, prefix: Prefix) -> SuffixIndex:
        return SuffixIndex(prefix)
