"""The n-gram table: counts, back-off, bounds, and what it learns from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS, EVIDENCE_MASK, Prefix
from goodspeed.engine.ngram_table import LEARNED_TOGETHER, MAX_ORDER, NGramSource, NGramTable
from goodspeed.errors import CheckpointError


def taught(*texts: list[int], num_slots: int = 2**10) -> NGramTable:
    table = NGramTable(num_slots)
    for text in texts:
        table.learn(text, 0)
    return table


def token_after(table: NGramTable, tokens: list[int]) -> int | None:
    packed = table.guess(tokens)
    return packed >> EVIDENCE_BITS if packed else None


def test_guess_uses_the_longest_known_context() -> None:
    table = taught([1, 2, 3, 4, 5], [9, 4, 6], [8, 4, 6])
    assert token_after(table, [1, 2, 3, 4]) == 5
    assert token_after(table, [7, 7, 7, 4]) == 6
    assert token_after(table, [7]) is None


def test_evidence_names_the_order_of_the_context() -> None:
    table = taught([1, 2, 3, 4, 5])
    for order in range(1, MAX_ORDER + 1):
        packed = table.guess([0] * MAX_ORDER + [1, 2, 3, 4][-order:])
        assert (packed & EVIDENCE_MASK) >> COARSE_SHIFT == order


def test_most_frequent_continuation_leads() -> None:
    assert token_after(taught([1, 5], [1, 6], [1, 5], [1, 5], [1, 6]), [1]) == 5


def test_of_equals_the_later_leads() -> None:
    assert token_after(taught([1, 5], [1, 6]), [1]) == 6


def test_new_favourite_takes_over_though_counts_are_full() -> None:
    table = taught([1, 5] * 400)
    table.learn([1, 6] * 400, 0)
    assert token_after(table, [1]) == 6


@given(st.lists(st.lists(st.integers(0, 5), min_size=2, max_size=12), max_size=60))
def test_counts_stay_within_a_byte_and_in_order(texts: list[list[int]]) -> None:
    arrays = taught(*texts * 8, num_slots=8).arrays()
    assert np.all(arrays["first_count"] >= arrays["second_count"])
    assert np.all(arrays["first_count"].astype(int) + arrays["second_count"] <= arrays["total"])


def test_memory_is_fixed() -> None:
    table = NGramTable(64)
    size = sum(values.nbytes for values in table.arrays().values())
    table.learn(list(range(5000)), 0)
    assert table.num_slots == 64
    assert sum(values.nbytes for values in table.arrays().values()) == size == 64 * 15


def test_full_set_evicts_the_least_used_slot() -> None:
    table = taught([1, 2] * 50, num_slots=8)
    table.learn(list(range(100, 300)), 0)
    assert token_after(table, [1]) == 2


def test_prompts_are_not_learned_and_answers_are() -> None:
    source = NGramSource(NGramTable(64))
    prefix = Prefix(1, [1, 2, 3], Sampling())
    guesser = source.open(prefix)
    assert token_after(source.table, [1]) is None
    prefix.commit([4, 5])
    guesser.commit()
    guesser.close()
    assert token_after(source.table, [1, 2, 3]) == 4
    assert token_after(source.table, [4]) == 5
    assert token_after(source.table, [2]) is None


def test_every_answer_token_is_learned_once() -> None:
    source = NGramSource(NGramTable(2**10))
    prefix = Prefix(1, [1], Sampling())
    guesser = source.open(prefix)
    answer = list(range(2, 2 + 2 * LEARNED_TOGETHER))
    for start in range(0, len(answer), 3):
        prefix.commit(answer[start : start + 3])
        guesser.commit()
        prefix.append(99)  # a drafted token
    guesser.close()
    totals = source.table.arrays()["total"]
    assert set(totals.tolist()) == {0, 1}
    assert totals.sum() == 4 * len(answer) - 3 - 2 - 1  # the first answer tokens have shorter contexts
    assert token_after(source.table, [answer[-1]]) is None


def test_arrays_bring_the_table_back() -> None:
    table = taught([1, 2, 3, 1, 2, 4, 1, 2, 3])
    again = NGramTable.from_arrays(table.arrays(), vocab_size=5)
    assert again.guess([1, 2]) == table.guess([1, 2])
    assert {name: values.tolist() for name, values in again.arrays().items()} == {
        name: values.tolist() for name, values in table.arrays().items()
    }


def test_arrays_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(CheckpointError, match="token 9 in an n-gram table, the vocabulary has 8"):
        NGramTable.from_arrays(taught([1, 9]).arrays(), vocab_size=8)


def test_arrays_of_unequal_length_are_refused() -> None:
    arrays = taught([1, 2]).arrays()
    arrays["total"] = arrays["total"][:8]
    with pytest.raises(CheckpointError, match="not an n-gram table"):
        NGramTable.from_arrays(arrays, vocab_size=5)


@given(st.lists(st.lists(st.integers(0, 3), min_size=2, max_size=12), min_size=2, max_size=12))
def test_table_on_a_base_guesses_as_one_that_learned_everything(texts: list[list[int]]) -> None:
    half = len(texts) // 2
    base = taught(*texts[:half], num_slots=2**14)
    before = {name: values.tolist() for name, values in base.arrays().items()}
    table, single = NGramTable(2**14, base), taught(*texts, num_slots=2**14)
    for text in texts[half:]:
        table.learn(text, 0)
    assert all(table.guess(text[:end]) == single.guess(text[:end]) for text in texts for end in range(1, len(text)))
    assert {name: values.tolist() for name, values in base.arrays().items()} == before
