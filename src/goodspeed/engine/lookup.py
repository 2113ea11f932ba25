"""Prompt lookup at every token: guess the token that followed the latest earlier occurrence of the last tokens.

Each stream has an index from every n-gram of a few lengths to the position after its latest occurrence. A guess costs
one dictionary lookup per length, longest first, independent of the length of the prefix. Prompt lookup decoding (Saxena
2023) instead looks up once per round and copies the tokens that follow.
"""

from collections.abc import Sequence

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.draft_source import COARSE_SHIFT, Guess, Prefix

LENGTHS = (8, 5, 3, 2, 1)
"""Suffix lengths that are looked up, longest first. More did not raise acceptance (docs/measurements/log.md)."""

PRIORS = ((0.84, 0.97), (0.70, 0.88), (0.59, 0.79), (0.49, 0.74), (0.22, 0.57))
"""Per length, the measured share of right guesses: if the last two occurrences differ, and if they agree."""

Ngram = tuple[int, ...]


class SuffixIndex:
    """The latest occurrence of each n-gram of one growing text. Drafted tokens are in an overlay that is dropped whole.

    An entry is 2 * position + agreed: `position` is that of the token after the latest occurrence, and `agreed` is 1 if
    the occurrence before was followed by the same token.
    """

    __slots__ = ("_drafted", "_entries", "_num_indexed")

    def __init__(self) -> None:
        self._entries: dict[Ngram, int] = {}
        self._drafted: dict[Ngram, int] = {}
        self._num_indexed = 0

    def extend(self, tokens: Sequence[int], num_committed: int) -> None:
        """Index the tokens added since the last call; those from num_committed on are drafted, not committed."""
        for i in range(self._num_indexed, len(tokens)):
            self._add(tokens, i, self._entries if i < num_committed else self._drafted)
        self._num_indexed = len(tokens)

    def rewind(self, num_committed: int) -> None:
        """Drop the drafted tokens."""
        self._drafted.clear()
        self._num_indexed = min(self._num_indexed, num_committed)

    def find(self, tokens: Sequence[int]) -> tuple[int, int] | None:
        """(index into LENGTHS of the longest suffix that occurred before, its entry), or None."""
        for index, length in enumerate(LENGTHS):
            entry = self._get(tuple(tokens[-length:]))
            if entry is not None:
                return index, entry
        return None

    def _add(self, tokens: Sequence[int], i: int, entries: dict[Ngram, int]) -> None:
        token = tokens[i]
        for length in LENGTHS:
            if i >= length:
                ngram = tuple(tokens[i - length : i])
                last = self._get(ngram)
                entries[ngram] = 2 * i + (last is not None and tokens[last >> 1] == token)

    def _get(self, ngram: Ngram) -> int | None:
        if self._drafted:
            entry = self._drafted.get(ngram)
            if entry is not None:
                return entry
        return self._entries.get(ngram)


class LookupSource:
    """Guesses from the stream's own prompt and answer, including drafted tokens."""

    def __init__(self) -> None:
        self._indexes: dict[StreamKey, SuffixIndex] = {}

    def open(self, prefix: Prefix) -> None:
        index = self._indexes[prefix.stream] = SuffixIndex()
        index.extend(prefix.tokens, prefix.num_committed)

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        return [self._guess(prefix) for prefix in prefixes]

    def rewind(self, prefix: Prefix) -> None:
        self._indexes[prefix.stream].rewind(prefix.num_committed)

    def commit(self, prefix: Prefix) -> None:
        self._indexes[prefix.stream].extend(prefix.tokens, prefix.num_committed)

    def close(self, prefix: Prefix) -> None:
        del self._indexes[prefix.stream]

    def _guess(self, prefix: Prefix) -> Guess | None:
        index = self._indexes[prefix.stream]
        index.extend(prefix.tokens, prefix.num_committed)
        found = index.find(prefix.tokens)
        if found is None:
            return None
        length_index, entry = found
        agreed = entry & 1
        evidence = (length_index + 1) << COARSE_SHIFT | agreed
        return Guess(prefix.tokens[entry >> 1], evidence, PRIORS[length_index][agreed])
