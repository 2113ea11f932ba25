"""A back-off n-gram table of the target's own answers, learned online, with a fixed memory size.

Each context of 1 to 4 tokens has one slot with the two most frequent next tokens and their counts. The slots are in
plain arrays, indexed by a hash of the context and 4-way set-associative; a full set evicts its least used slot. Counts
are halved when a byte overflows, so old evidence fades.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS, PackedGuess, Prefix
from goodspeed.errors import CheckpointError

MAX_ORDER = 4  # tokens of context; 5 and 6 did not raise acceptance (docs/measurements/log.md)
SET_SIZE = 4
MAX_COUNT = 255
MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
MASK = 2**64 - 1
FIELDS = {"check": "<u4", "first": "<i4", "second": "<i4", "total": "|u1", "first_count": "|u1", "second_count": "|u1"}

NUM_KINDS = 25
"""Kinds of a context by its counts; see _kinds."""
PRIORS = (0.29, 0.43, 0.53, 0.69)
"""Measured share of right guesses after a context of 1, 2, 3, 4 tokens that was seen once; see _prior."""
TOTALS = (1.0, 2.0, 3.5, 9.0, 40.0)
"""A typical count of a context in each class of _kinds."""

LEARNED_TOGETHER = 16
"""Tokens of a stream that are learned at once. Half the time of learning each by itself."""


class NGramTable:
    """Counts of next tokens by context. `num_slots` is rounded up to a power of two; a slot takes 17 bytes.

    With a `base` the table holds only the contexts that it has learned itself, and starts each from the counts of the
    base, which it does not change. So several tables can learn apart from each other on one base.
    """

    def __init__(self, num_slots: int = 2**19, base: "NGramTable | None" = None) -> None:
        self._base = base
        set_bits = max(1, (num_slots - 1).bit_length() - 2)
        size = SET_SIZE << set_bits
        self._shift = 64 - set_bits
        self._check = array("I", bytes(4 * size))
        self._first = array("i", bytes(4 * size))
        self._second = array("i", bytes(4 * size))
        # total << 16 | count of first << 8 | count of second; 0: the slot is free. In one array, because an access to
        # each is a cache miss.
        self._counts = array("I", bytes(4 * size))
        self._tags = bytearray(size)  # of the check; 0: the slot is free

    @property
    def num_slots(self) -> int:
        """Capacity in contexts."""
        return len(self._check)

    @property
    def num_used(self) -> int:
        """Contexts in the table."""
        return len(self._counts) - self._counts.count(0)

    def learn(self, tokens: Sequence[int], start: int) -> None:
        """Count each token of tokens[start:] for the contexts before it."""
        for i in range(start, len(tokens)):
            token = tokens[i]
            for key in _context_keys(tokens, i):
                self._count(key, token)

    def guess(self, tokens: Sequence[int]) -> PackedGuess:
        """The most frequent next token of the longest known context at the end of `tokens`."""
        keys = _context_keys(tokens, len(tokens))
        order = len(keys)
        base = self._base
        # Whoever learned a context has learned its suffixes, so on a base most contexts need one look here.
        own_order = order if base is None or order < 2 or self._find(keys[1]) >= 0 else 1
        while order:
            key, table = keys[order - 1], self
            slot = self._find(key) if order <= own_order else -1
            if slot < 0 and base is not None:
                table = base
                slot = base._find(key)
            if slot >= 0:
                kind = KINDS[table._counts[slot] >> 8]
                return table._first[slot] << EVIDENCE_BITS | order << COARSE_SHIFT | kind
            order -= 1
        return 0

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The whole table, to be saved: one [num_slots] array per field."""
        counts = np.array(self._counts, dtype=np.uint32)
        return {
            "check": np.array(self._check, dtype=FIELDS["check"]),
            "first": np.array(self._first, dtype=FIELDS["first"]),
            "second": np.array(self._second, dtype=FIELDS["second"]),
            "total": (counts >> 16).astype(np.uint8),
            "first_count": (counts >> 8).astype(np.uint8),
            "second_count": counts.astype(np.uint8),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]], vocab_size: int) -> "NGramTable":
        """The inverse of arrays(). Raises CheckpointError if they are not a table for this vocabulary."""
        found = {name: (arrays[name].dtype.str, arrays[name].shape) for name in FIELDS if name in arrays}
        size = len(arrays["check"]) if "check" in arrays else 0
        if (
            size < 2 * SET_SIZE
            or size & (size - 1)
            or found != {name: (kind, (size,)) for name, kind in FIELDS.items()}
        ):
            raise CheckpointError(f"not an n-gram table: has {found}, expected {FIELDS} of one length, a power of two")
        for name in ("first", "second"):
            if arrays[name].min() < 0 or arrays[name].max() >= vocab_size:
                raise CheckpointError(f"token {arrays[name].max()} in an n-gram table, the vocabulary has {vocab_size}")
        table = cls(size)
        counts = [arrays[name].astype(np.uint32) for name in ("total", "first_count", "second_count")]
        table._check = array("I", arrays["check"].astype(np.uint32).tobytes())
        table._first = array("i", arrays["first"].astype(np.int32).tobytes())
        table._second = array("i", arrays["second"].astype(np.int32).tobytes())
        table._counts = array("I", (counts[0] << 16 | counts[1] << 8 | counts[2]).tobytes())
        tags = np.where(counts[0] > 0, arrays["check"] & 0xFF | 1, 0)
        table._tags = bytearray(tags.astype(np.uint8).tobytes())
        return table

    def _find(self, key: int) -> int:
        """The slot of the context, or -1."""
        check = key >> 16 & 0xFFFFFFFF
        start = key >> self._shift << 2
        slot = self._tags.find(check & 0xFF | 1, start, start + SET_SIZE)
        while slot >= 0 and self._check[slot] != check:
            slot = self._tags.find(check & 0xFF | 1, slot + 1, start + SET_SIZE)
        return slot

    def _count(self, key: int, token: int) -> None:
        slot = self._find(key)
        if slot < 0:
            slot = self._claim(key)
        counts = self._counts[slot]
        if counts >= MAX_COUNT << 16:
            counts = counts >> 1 & 0x7F7F7F
        if not counts:
            self._first[slot] = token
            self._counts[slot] = 1 << 16 | 1 << 8
        elif self._first[slot] == token:
            self._counts[slot] = counts + (1 << 16 | 1 << 8)
        else:
            self._counts[slot] = self._count_second(slot, token, counts + (1 << 16))

    def _count_second(self, slot: int, token: int, counts: int) -> int:
        """The counts with a token that is not the first one; the later of two equal counts comes first."""
        first_count = counts >> 8 & 0xFF
        count = (counts & 0xFF) + 1 if self._second[slot] == token else 1
        if count < first_count:
            self._second[slot] = token
            return counts & 0xFFFF00 | count
        self._second[slot] = self._first[slot]
        self._first[slot] = token
        return counts & 0xFF0000 | count << 8 | first_count

    def _claim(self, key: int) -> int:
        """The slot of a new context, with the counts of the base, or empty."""
        start = key >> self._shift << 2
        counts = self._counts[start : start + SET_SIZE]
        slot = start + counts.index(min(counts))
        check = key >> 16 & 0xFFFFFFFF
        self._check[slot] = check
        self._tags[slot] = check & 0xFF | 1
        base = self._base
        source = base._find(key) if base is not None else -1
        if base is not None and source >= 0:
            self._first[slot], self._second[slot] = base._first[source], base._second[source]
            self._counts[slot] = base._counts[source]
        else:
            self._counts[slot] = 0
        return slot


class TableGuesser:
    """Guesses for one stream. The table learns the stream's committed answer tokens, not its prompt tokens."""

    __slots__ = ("_num_learned", "_prefix", "_table")
    decisive_below = 0

    def __init__(self, table: NGramTable, prefix: Prefix) -> None:
        self._table = table
        self._prefix = prefix
        self._num_learned = prefix.num_committed

    def guess(self) -> PackedGuess:
        return self._table.guess(self._prefix.tokens)

    def commit(self) -> None:
        if len(self._prefix.tokens) - self._num_learned >= LEARNED_TOGETHER:
            self.close()

    def close(self) -> None:
        self._table.learn(self._prefix.tokens[: self._prefix.num_committed], self._num_learned)
        self._num_learned = self._prefix.num_committed


class NGramSource:
    """Guesses from a table that all streams share."""

    def __init__(self, table: NGramTable) -> None:
        self.table = table

    @property
    def priors(self) -> Sequence[float]:
        return EVIDENCE_PRIORS

    def open(self, prefix: Prefix) -> TableGuesser:
        return TableGuesser(self.table, prefix)


def without_padding(arrays: Mapping[str, npt.NDArray[Any]], vocab_size: int) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a table without the slots whose next tokens are not in the vocabulary; other arrays stay."""
    if not {"first", "second"} <= arrays.keys():
        return dict(arrays)
    is_padding = (arrays["first"] >= vocab_size) | (arrays["second"] >= vocab_size)
    return {
        name: np.where(is_padding, 0, values).astype(values.dtype) if name in FIELDS else values
        for name, values in arrays.items()
    }


def _context_keys(tokens: Sequence[int], end: int) -> Sequence[int]:
    """A 64-bit hash of each context tokens[end - n : end], n = 1 .. MAX_ORDER, shortest first."""
    if end >= MAX_ORDER:  # the loop below, unrolled
        one = (MULTIPLIER ^ tokens[end - 1]) * MULTIPLIER & MASK
        two = (one ^ tokens[end - 2]) * MULTIPLIER & MASK
        three = (two ^ tokens[end - 3]) * MULTIPLIER & MASK
        return one, two, three, (three ^ tokens[end - 4]) * MULTIPLIER & MASK
    keys = []
    key = MULTIPLIER
    for token in tokens[:end][::-1]:
        key = (key ^ token) * MULTIPLIER & MASK
        keys.append(key)
    return keys


def _kinds() -> bytes:
    """The kind of a context, 0 .. 24, at total << 8 | count of its most frequent token.

    Five classes of the total times five of the token's share.
    """
    totals = np.arange(MAX_COUNT + 1)[:, np.newaxis]
    counts = np.arange(MAX_COUNT + 1)[np.newaxis, :]
    shares = np.minimum(4, 5 * counts // np.maximum(totals, 1))
    return (5 * np.searchsorted([1, 2, 4, 16], totals) + shares).astype(np.uint8).tobytes()


def _prior(order: int, kind: int) -> float:
    """PRIORS after one occurrence, then moving towards the observed share; PRIORS weigh as much as 3 occurrences."""
    total = TOTALS[kind // 5]
    count = max(1.0, (kind % 5 + 0.5) / 5 * total)
    return (count - 1 + 3 * PRIORS[order - 1]) / (total + 2)


KINDS = _kinds()
EVIDENCE_PRIORS = tuple(
    _prior(evidence >> COARSE_SHIFT, evidence & (1 << COARSE_SHIFT) - 1)
    if evidence >> COARSE_SHIFT and evidence & (1 << COARSE_SHIFT) - 1 < NUM_KINDS
    else 0.5
    for evidence in range((MAX_ORDER + 1) << COARSE_SHIFT)
)
