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

from goodspeed.decoding.draft import StreamKey
from goodspeed.engine.draft_source import COARSE_SHIFT, Guess, Prefix
from goodspeed.errors import CheckpointError

MAX_ORDER = 4  # tokens of context; 5 and 6 did not raise acceptance (docs/measurements/log.md)
SET_SIZE = 4
MAX_COUNT = 255
MULTIPLIER = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, odd
MASK = 2**64 - 1
FIELDS = {"check": "<u4", "first": "<i4", "second": "<i4", "total": "|u1", "first_count": "|u1", "second_count": "|u1"}

PRIORS = (0.29, 0.43, 0.53, 0.69)
"""Measured share of right guesses after a context of 1, 2, 3, 4 tokens that was seen once; see _prior."""


class NGramTable:
    """Counts of next tokens by context. `num_slots` is rounded up to a power of two; a slot takes 15 bytes.

    With a `base` the table holds only the contexts that it has learned itself, and starts each from the counts of the
    base, which it does not change. So several tables can learn apart from each other on one base.
    """

    def __init__(self, num_slots: int = 2**19, base: "NGramTable | None" = None) -> None:
        self._base = base
        self._set_bits = max(1, (num_slots - 1).bit_length() - 2)
        size = SET_SIZE << self._set_bits
        self._check = array("I", bytes(4 * size))
        self._first = array("i", bytes(4 * size))
        self._second = array("i", bytes(4 * size))
        self._total = array("B", bytes(size))  # 0: the slot is free
        self._first_count = array("B", bytes(size))
        self._second_count = array("B", bytes(size))

    @property
    def num_slots(self) -> int:
        """Capacity in contexts."""
        return len(self._check)

    @property
    def num_used(self) -> int:
        """Contexts in the table."""
        return len(self._total) - self._total.count(0)

    def learn(self, tokens: Sequence[int], start: int) -> None:
        """Count each token of tokens[start:] for the contexts before it."""
        for i in range(start, len(tokens)):
            token = tokens[i]
            for key in _context_keys(tokens, i):
                self._count(key, token)

    def guess(self, tokens: Sequence[int]) -> Guess | None:
        """The most frequent next token of the longest known context at the end of `tokens`."""
        keys = _context_keys(tokens, len(tokens))
        for order in range(len(keys), 0, -1):
            found = self._find_counts(keys[order - 1])
            if found is not None:
                table, slot = found
                count, total = table._first_count[slot], table._total[slot]
                evidence = order << COARSE_SHIFT | _kind(count, total)
                return Guess(table._first[slot], evidence, _prior(order, count, total))
        return None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The whole table, to be saved: one [num_slots] array per field."""
        return {name: np.array(values, dtype=FIELDS[name]) for name, values in self._fields().items()}

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
        for name, values in table._fields().items():
            values[:] = array(values.typecode, arrays[name].astype(values.typecode).tobytes())
        return table

    def _fields(self) -> dict[str, "array[int]"]:
        return {
            "check": self._check,
            "first": self._first,
            "second": self._second,
            "total": self._total,
            "first_count": self._first_count,
            "second_count": self._second_count,
        }

    def _find(self, key: int) -> int | None:
        check = key >> 16 & 0xFFFFFFFF
        base = key >> (64 - self._set_bits) << 2
        for slot in range(base, base + SET_SIZE):
            if self._check[slot] == check and self._total[slot]:
                return slot
        return None

    def _find_counts(self, key: int) -> "tuple[NGramTable, int] | None":
        """The table that holds the context, this one or its base, and the slot there."""
        slot = self._find(key)
        if slot is not None:
            return self, slot
        return self._base._find_counts(key) if self._base else None

    def _count(self, key: int, token: int) -> None:
        slot = self._find(key)
        if slot is None:
            slot = self._claim(key)
            if not self._total[slot]:
                self._first[slot] = token
                self._total[slot] = self._first_count[slot] = 1
                return
        if self._total[slot] == MAX_COUNT:
            self._halve(slot)
        self._total[slot] += 1
        if self._first[slot] == token:
            self._first_count[slot] += 1
            return
        is_second = self._second[slot] == token and self._second_count[slot]
        self._second[slot] = token
        self._second_count[slot] = self._second_count[slot] + 1 if is_second else 1
        if self._second_count[slot] >= self._first_count[slot]:  # the later of two equal counts comes first
            self._swap(slot)

    def _claim(self, key: int) -> int:
        """The slot of a new context, with the counts of the base, or empty."""
        bucket = key >> (64 - self._set_bits) << 2
        slot = min(range(bucket, bucket + SET_SIZE), key=self._total.__getitem__)
        self._check[slot] = key >> 16 & 0xFFFFFFFF
        found = self._base._find_counts(key) if self._base else None
        self._total[slot] = self._first_count[slot] = self._second_count[slot] = 0
        if found is not None:
            table, source = found
            for own, other in zip(self._fields().values(), table._fields().values(), strict=True):
                own[slot] = other[source]
        return slot

    def _halve(self, slot: int) -> None:
        self._total[slot] //= 2
        self._first_count[slot] //= 2
        self._second_count[slot] //= 2

    def _swap(self, slot: int) -> None:
        self._first[slot], self._second[slot] = self._second[slot], self._first[slot]
        self._first_count[slot], self._second_count[slot] = self._second_count[slot], self._first_count[slot]


class NGramSource:
    """Guesses from a table that all streams share. It learns committed answer tokens, not prompt tokens."""

    def __init__(self, table: NGramTable) -> None:
        self.table = table
        self._num_learned: dict[StreamKey, int] = {}

    def open(self, prefix: Prefix) -> None:
        self._num_learned[prefix.stream] = prefix.num_committed

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        return [self.table.guess(prefix.tokens) for prefix in prefixes]

    def rewind(self, prefix: Prefix) -> None:
        """Nothing to do: the table has no drafted tokens."""

    def commit(self, prefix: Prefix) -> None:
        self.table.learn(prefix.tokens, self._num_learned[prefix.stream])
        self._num_learned[prefix.stream] = prefix.num_committed

    def close(self, prefix: Prefix) -> None:
        del self._num_learned[prefix.stream]


def _context_keys(tokens: Sequence[int], end: int) -> list[int]:
    """A 64-bit hash of each context tokens[end - n : end], n = 1 .. MAX_ORDER, shortest first."""
    keys = []
    key = MULTIPLIER
    for i in range(end - 1, max(end - 1 - MAX_ORDER, -1), -1):
        key = (key ^ tokens[i]) * MULTIPLIER & MASK
        keys.append(key)
    return keys


def _kind(count: int, total: int) -> int:
    """0 .. 24: five classes of the context's count times five of the share of its most frequent token."""
    seen = 0 if total == 1 else 1 if total == 2 else 2 if total <= 4 else 3 if total <= 16 else 4
    return 5 * seen + min(4, 5 * count // total)


def _prior(order: int, count: int, total: int) -> float:
    """PRIORS after one occurrence, then moving towards the observed share; PRIORS weigh as much as 3 occurrences."""
    return (count - 1 + 3 * PRIORS[order - 1]) / (total + 2)
