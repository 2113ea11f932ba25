"""Prompt lookup, redone at every token."""

from hypothesis import given
from hypothesis import strategies as st

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.draft_source import EVIDENCE_BITS, EVIDENCE_MASK, Prefix
from goodspeed.engine.lookup import INDEXED_TOGETHER, LENGTHS, LookupSource, SuffixIndex


def opened(tokens: list[int]) -> tuple[SuffixIndex, Prefix]:
    prefix = Prefix(1, tokens, Sampling())
    return LookupSource().open(prefix), prefix


def guess(index: SuffixIndex) -> int | None:
    packed = index.guess()
    return packed >> EVIDENCE_BITS if packed else None


def by_scan(tokens: list[int]) -> int | None:
    """The definition: what followed the latest earlier occurrence of the longest suffix that has one."""
    for length in LENGTHS:
        suffix = tokens[-length:]
        for end in range(len(tokens) - 1, length - 1, -1):
            if len(suffix) == length and tokens[end - length : end] == suffix:
                return tokens[end]
    return None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.lists(st.integers(0, 3), max_size=12))
def test_guess_is_the_latest_continuation_of_the_longest_suffix(prompt: list[int], drafted: list[int]) -> None:
    index, prefix = opened(prompt)
    for token in drafted:
        assert guess(index) == by_scan(prefix.tokens)
        prefix.append(token)
    assert guess(index) == by_scan([*prompt, *drafted])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), max_size=8),
    st.lists(st.integers(0, 3), max_size=8),
)
def test_dropped_drafts_leave_no_trace(prompt: list[int], drafted: list[int], committed: list[int]) -> None:
    index, prefix = opened(prompt)
    for token in drafted:
        index.guess()
        prefix.append(token)
    index.guess()
    prefix.commit(committed)
    index.commit()
    assert index.guess() == opened([*prompt, *committed])[0].guess()


def test_longer_match_wins_over_a_later_one() -> None:
    index, _ = opened([1, 2, 3, 7, 9, 3, 8, 1, 2, 3])
    assert guess(index) == 7


def test_repeated_continuation_is_better_evidence() -> None:
    once, twice = opened([1, 2, 5, 1])[0].guess(), opened([1, 2, 5, 1, 2, 6, 1])[0].guess()
    assert once >> EVIDENCE_BITS == twice >> EVIDENCE_BITS == 2
    assert twice & EVIDENCE_MASK > once & EVIDENCE_MASK
    assert LookupSource.priors[twice & EVIDENCE_MASK] > LookupSource.priors[once & EVIDENCE_MASK]


def test_drafted_tokens_are_looked_up_too() -> None:
    index, prefix = opened([4, 4, 9])
    assert guess(index) is None
    prefix.append(8)
    prefix.append(9)
    assert guess(index) == 8


def test_tokens_of_any_vocabulary_are_looked_up() -> None:
    """Tokens are characters inside the index, also those whose numbers are not characters by themselves."""
    for token in (0, 0xD800, 0xDFFF, 0xFFFF, 151_935, 262_143):
        index, _ = opened([token, 7, token])
        assert guess(index) == 7


def test_long_prompt_is_indexed_from_its_end() -> None:
    """A piece with every commit; a later occurrence wins over one that was indexed after it."""
    filler = [10 + i % 997 for i in range(2 * INDEXED_TOGETHER)]
    index, prefix = opened([1, 2, 3, 4, *filler, 1, 2, 5, *filler, 8])

    def after(tokens: list[int]) -> int | None:
        """The guess after these tokens, as if they were drafted."""
        prefix.rewind(tokens)
        found = guess(index)
        prefix.rewind()
        return found

    assert after([1, 2, 3]) is None
    assert after(filler[-5:]) == 8
    for _ in range(5):
        prefix.commit([9])
        index.commit()
    assert after([1, 2, 3]) == 4
    assert after([1, 2]) == 5
