"""The hybrid draft engine's inner loops as machine code, by numba: lookup, n-gram table and calibration of one stream.

The algorithm is that of lookup.py, ngram_table.py, hybrid.py and calibration.py, to the bit (a test compares drafts and
confidences). The data lie in arrays instead of dictionaries and lists: with 64 streams the interpreter spent most of
its time waiting for memory.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

from goodspeed.engine.calibration import MAX_CONFIDENCE, MAX_TRIALS, MIN_CONFIDENCE, PRIOR_TRIALS
from goodspeed.engine.lookup import DECISIVE, LENGTHS
from goodspeed.engine.ngram_table import MAX_COUNT, MAX_ORDER, MULTIPLIER, NUM_KINDS, SET_SIZE

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])
Ints = npt.NDArray[np.int32]
Index = npt.NDArray[np.int64]
Table = npt.NDArray[np.uint32]
Floats = npt.NDArray[np.float64]
Kinds = npt.NDArray[np.uint8]

StreamArrays = tuple[Ints, Index, Ints, Floats]
"""What is known of one stream:

text        [capacity]: its tokens, first the committed ones, then the drafted ones
ngrams      [2^k]: n-grams of the committed text, by open addressing: check << 32 | entry; 0: free. The entry is
            2 * position + agreed, as in lookup.SuffixIndex
trials      [positions, 3]: for each drafted position its row of `candidates` (-1: it was not drafted here), and the
            tokens that lookup and table have guessed
confidences [positions]: of the last draft's tokens
"""
KnowledgeArrays = tuple[Table, Table, Kinds, Ints, Floats, Floats]
"""What streams at one temperature draft from. Plain tuples, since numba takes 4 µs longer for a named one:

table       [2^k, 4]: check, first, second and counts, as in ngram_table.NGramTable
base        the same for the contexts that the table does not have; it is not changed
kinds       ngram_table.KINDS
candidates  [rows, 2, 4]: for each pair of guesses up to two tokens: their source (0 lookup, 1 table, -1 none) and the
            three cells of their evidence
priors      [rows, 2]: Pr(right) of these tokens before any observation
cells       [cells, 2]: right, trials
"""

FACTOR = MULTIPLIER - 2**64  # as a signed number, whose products have the same bits
MAX_LENGTH = LENGTHS[0]
NUM_LOOKUP = 2 * len(LENGTHS) + 1
"""Kinds of lookup's guesses: none, then for each length one whose last occurrences differ and one whose agree."""
NUM_TABLE = MAX_ORDER * NUM_KINDS + 1
"""Kinds of the table's guesses: none, then those of each order."""
LOW = 0xFFFFFFFF
CHECK, FIRST, SECOND, COUNTS = range(4)
"""Fields of a slot of a table."""


def _compiled(function: FunctionT) -> FunctionT:
    """Compiled at its first call; the machine code is kept on disk where a folder for it can be written."""
    try:
        return cast("FunctionT", numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        return cast("FunctionT", numba.njit(nogil=True)(function))


@_compiled
def draft(  # noqa: PLR0913, PLR0917  (numbers that change with every call)
    stream: StreamArrays,
    known: KnowledgeArrays,
    num_committed: int,
    num_tokens: int,
    num_trials: int,
    max_tokens: int,
    min_survival: float,
) -> tuple[int, int]:
    """Draft after the first `num_tokens` tokens. Returns the numbers of drafted tokens and of trials."""
    text, ngrams, trials, confidences = stream
    table, base, kinds, candidates, priors, cells = known
    keys = np.empty(MAX_LENGTH, np.int64)
    survival = 1.0
    num_drafted = 0
    while num_drafted < max_tokens:
        num_keys = _context_keys(text, num_tokens, keys)
        lookup_kind, lookup_token = _lookup(text, ngrams, num_committed, num_tokens, keys)
        table_kind = table_token = 0
        if not 0 < lookup_kind <= 2 * DECISIVE:
            table_kind, table_token = _table_guess(table, base, kinds, keys, num_keys)
        is_same = lookup_kind > 0 and table_kind > 0 and lookup_token == table_token
        row = (lookup_kind * NUM_TABLE + table_kind) * 2 + is_same
        source, confidence = _best(candidates, priors, cells, row)
        if source < 0:
            break
        trials[num_trials, 0], trials[num_trials, 1], trials[num_trials, 2] = row, lookup_token, table_token
        num_trials += 1
        survival *= confidence
        if survival < min_survival:
            break
        confidences[num_drafted] = confidence
        text[num_tokens] = lookup_token if source == 0 else table_token
        num_drafted += 1
        num_tokens += 1
    return num_drafted, num_trials


@_compiled
def learn_calibration(  # noqa: PLR0913, PLR0917
    stream: StreamArrays,
    known: KnowledgeArrays,
    num_committed: int,
    num_tokens: int,
    num_trials: int,
    new_tokens: Ints,
) -> None:
    """Compare the last draft with the committed tokens up to the first difference; later positions are unknown."""
    text, _, trials, _ = stream
    _, _, _, candidates, _, cells = known
    for i in range(min(len(new_tokens), num_trials)):
        row = trials[i, 0]
        if row >= 0:
            for j in range(2):
                source = candidates[row, j, 0]
                if source >= 0:
                    _count(cells, candidates[row, j], trials[i, 1 + source] == new_tokens[i])
        if num_committed + i == num_tokens or text[num_committed + i] != new_tokens[i]:
            return


@_compiled
def add_ngrams(text: Ints, start: int, stop: int, ngrams: Index) -> int:
    """Add the n-grams before each of text[start:stop]; later occurrences stay. Returns the number of new n-grams."""
    keys = np.empty(MAX_LENGTH, np.int64)
    num_new = 0
    for i in range(start, stop):
        _context_keys(text, i, keys)
        for length in LENGTHS:
            if length <= i:
                slot = _find_ngram(text, i, length, ngrams, keys[length - 1])
                position = (ngrams[slot] & LOW) >> 1
                if position < stop:
                    num_new += position == 0
                    agreed = position > 0 and text[position] == text[i]
                    ngrams[slot] = _check_of(keys[length - 1]) << 32 | 2 * i + agreed
    return num_new


@_compiled
def copy_ngrams(ngrams: Index, larger: Index) -> None:
    """Copy all n-grams into larger arrays, which are empty."""
    for entry in ngrams:
        if entry:
            slot = entry >> 32 & len(larger) - 1
            while larger[slot]:
                slot = slot + 1 & len(larger) - 1
            larger[slot] = entry


@_compiled
def learn_table(table: Table, base: Table, text: Ints, start: int, stop: int) -> None:
    """Count each of text[start:stop] for the contexts before it, as NGramTable.learn."""
    keys = np.empty(MAX_LENGTH, np.int64)
    for i in range(start, stop):
        num_keys = _context_keys(text, i, keys)
        for order in range(min(num_keys, MAX_ORDER)):
            _count_token(table, base, keys[order], text[i])


@_compiled
def _context_keys(text: Ints, stop: int, keys: Index) -> int:
    """keys[n - 1]: a hash of text[stop - n : stop]. Returns how many there are, at most MAX_LENGTH."""
    num_keys = min(stop, MAX_LENGTH)
    key = FACTOR
    for i in range(num_keys):
        key = (key ^ text[stop - 1 - i]) * FACTOR
        keys[i] = key
    return num_keys


@_compiled
def _best(candidates: Ints, priors: Floats, cells: Floats, row: int) -> tuple[int, float]:
    """The source of the candidate with the highest confidence, the first of equals; -1 without a candidate."""
    best_source, best = -1, 0.0
    for i in range(2):
        candidate = candidates[row, i]
        if candidate[0] >= 0:
            confidence = _estimate(cells, candidate, priors[row, i])
            if confidence > best:
                best_source, best = candidate[0], confidence
    return best_source, best


@_compiled
def _lookup(text: Ints, ngrams: Index, num_committed: int, num_tokens: int, keys: Index) -> tuple[int, int]:
    """Kind and token of the guess by the longest n-gram at the end that has occurred before; kind 0: none."""
    for which, length in enumerate(LENGTHS):
        if length <= num_tokens:
            position = _drafted_occurrence(text, num_committed, num_tokens, num_tokens, length)
            if position:
                before = _drafted_occurrence(text, num_committed, num_tokens, position, length)
                if not before:
                    before = (ngrams[_find_ngram(text, num_tokens, length, ngrams, keys[length - 1])] & LOW) >> 1
                agreed = before > 0 and text[before] == text[position]
                return 2 * which + agreed + 1, text[position]
            entry = ngrams[_find_ngram(text, num_tokens, length, ngrams, keys[length - 1])] & LOW
            if entry:
                return 2 * which + (entry & 1) + 1, text[entry >> 1]
    return 0, 0


@_compiled
def _drafted_occurrence(text: Ints, num_committed: int, num_tokens: int, before: int, length: int) -> int:
    """The latest position below `before` of a drafted token after the n-gram at the end of the text; 0: none."""
    for i in range(before - 1, num_committed - 1, -1):
        if i >= length and _is_same(text, i, num_tokens, length):
            return i
    return 0


@_compiled
def _find_ngram(text: Ints, stop: int, length: int, ngrams: Index, key: int) -> int:
    """The slot of the n-gram text[stop - length : stop], or the free one where it would be."""
    check = _check_of(key)
    slot = check & len(ngrams) - 1
    while ngrams[slot]:
        if ngrams[slot] >> 32 & LOW == check and _is_same(text, (ngrams[slot] & LOW) >> 1, stop, length):
            return slot
        slot = slot + 1 & len(ngrams) - 1
    return slot


@_compiled
def _check_of(key: int) -> int:
    return key >> 32 & LOW


@_compiled
def _is_same(text: Ints, stop: int, other_stop: int, length: int) -> bool:
    """Whether the n-grams that end at these positions are equal."""
    num_same = 0
    while num_same < min(length, stop) and text[stop - 1 - num_same] == text[other_stop - 1 - num_same]:
        num_same += 1
    return num_same == length


@_compiled
def _table_guess(table: Table, base: Table, kinds: Kinds, keys: Index, num_keys: int) -> tuple[int, int]:
    """Kind and token of the most frequent next token of the longest known context; kind 0: none."""
    order = min(num_keys, MAX_ORDER)
    # Whoever learned a context has learned its suffixes, so most contexts need one look here.
    own_order = order if order < 2 or _find_context(table, keys[1]) >= 0 else 1
    while order > 0:
        found = table
        slot = _find_context(table, keys[order - 1]) if order <= own_order else -1
        if slot < 0:
            found = base
            slot = _find_context(base, keys[order - 1])
        if slot >= 0:
            kind = kinds[_field(found, slot, COUNTS) >> 8]
            return (order - 1) * NUM_KINDS + kind + 1, _field(found, slot, FIRST)
        order -= 1
    return 0, 0


@_compiled
def _field(table: Table, slot: int, column: int) -> int:
    """The value as a signed number: numba makes a float of a signed and an unsigned one."""
    return np.int64(table[slot, column])  # type: ignore[return-value]


@_compiled
def _start_of(table: Table, key: int) -> int:
    """The first slot of the key's set: the upper bits of the key."""
    num_sets = len(table) // SET_SIZE
    bits = 0
    while 1 << bits < num_sets:
        bits += 1
    return (key >> 64 - bits & num_sets - 1) * SET_SIZE


@_compiled
def _find_context(table: Table, key: int) -> int:
    """The slot of the context, or -1."""
    start = _start_of(table, key)
    check = key >> 16 & LOW
    for slot in range(start, start + SET_SIZE):
        if table[slot, COUNTS] and _field(table, slot, CHECK) == check:
            return slot
    return -1


@_compiled
def _count_token(table: Table, base: Table, key: int, token: int) -> None:
    slot = _find_context(table, key)
    if slot < 0:
        slot = _claim(table, base, key)
    counts = _field(table, slot, COUNTS)
    if counts >= MAX_COUNT << 16:
        counts = counts >> 1 & 0x7F7F7F
    if not counts:
        table[slot, FIRST] = token
        table[slot, COUNTS] = 1 << 16 | 1 << 8
    elif _field(table, slot, FIRST) == token:
        table[slot, COUNTS] = counts + (1 << 16 | 1 << 8)
    else:
        _count_second(table, slot, token, counts + (1 << 16))


@_compiled
def _count_second(table: Table, slot: int, token: int, counts: int) -> None:
    """Count a token that is not the first one; the later of two equal counts comes first."""
    first_count = counts >> 8 & 0xFF
    count = (counts & 0xFF) + 1 if _field(table, slot, SECOND) == token else 1
    if count < first_count:
        table[slot, SECOND] = token
        table[slot, COUNTS] = counts & 0xFFFF00 | count
    else:
        table[slot, SECOND] = table[slot, FIRST]
        table[slot, FIRST] = token
        table[slot, COUNTS] = counts & 0xFF0000 | count << 8 | first_count


@_compiled
def _claim(table: Table, base: Table, key: int) -> int:
    """The least used slot of the set for a new context, with the counts of the base, or empty."""
    start = _start_of(table, key)
    slot = start
    for other in range(start + 1, start + SET_SIZE):
        if table[other, COUNTS] < table[slot, COUNTS]:
            slot = other
    source = _find_context(base, key)
    table[slot, CHECK] = key >> 16 & LOW
    table[slot, COUNTS] = 0
    if source >= 0:
        table[slot, FIRST:] = base[source, FIRST:]
    return slot


@_compiled
def _estimate(cells: Floats, candidate: Ints, prior: float) -> float:
    """As calibration.estimate."""
    for i in range(1, 4):
        cell = cells[candidate[i]]
        prior = (cell[0] + PRIOR_TRIALS * prior) / (cell[1] + PRIOR_TRIALS)
    return min(MAX_CONFIDENCE, max(MIN_CONFIDENCE, prior))


@_compiled
def _count(cells: Floats, candidate: Ints, is_right: bool) -> None:
    """As calibration.count."""
    for i in range(1, 4):
        cell = cells[candidate[i]]
        if cell[1] >= MAX_TRIALS:
            cell[0] /= 2
            cell[1] /= 2
        cell[0] += is_right
        cell[1] += 1.0
