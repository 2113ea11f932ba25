"""Prompt lookup, redone at every token."""

from hypothesis import given
from hypothesis import strategies as st

from goodspeed.decoding.sampling import Sampling
from goodspeed.engine.draft_source import Prefix
from goodspeed.engine.lookup import LENGTHS, LookupSource


def opened(tokens: list[int]) -> tuple[LookupSource, Prefix]:
    source, prefix = LookupSource(), Prefix(1, tokens, Sampling())
    source.open(prefix)
    return source, prefix


def guess(source: LookupSource, prefix: Prefix) -> int | None:
    found = source.guesses([prefix])[0]
    return found.token if found else None


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
    source, prefix = opened(prompt)
    for token in drafted:
        assert guess(source, prefix) == by_scan(prefix.tokens)
        prefix.tokens.append(token)
    assert guess(source, prefix) == by_scan([*prompt, *drafted])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.lists(st.integers(0, 3), max_size=8),
    st.lists(st.integers(0, 3), max_size=8),
)
def test_dropped_drafts_leave_no_trace(prompt: list[int], drafted: list[int], committed: list[int]) -> None:
    source, prefix = opened(prompt)
    for token in drafted:
        source.guesses([prefix])
        prefix.tokens.append(token)
    source.guesses([prefix])
    source.rewind(prefix)
    prefix.commit(committed)
    source.commit(prefix)
    fresh, other = opened([*prompt, *committed])
    assert source.guesses([prefix]) == fresh.guesses([other])


def test_longer_match_wins_over_a_later_one() -> None:
    source, prefix = opened([1, 2, 3, 7, 9, 3, 8, 1, 2, 3])
    assert guess(source, prefix) == 7


def test_repeated_continuation_is_better_evidence() -> None:
    once, prefix = opened([1, 2, 5, 1])
    twice, other = opened([1, 2, 5, 1, 2, 6, 1])
    first, second = once.guesses([prefix])[0], twice.guesses([other])[0]
    assert first is not None
    assert second is not None
    assert second.token == first.token == 2
    assert second.evidence > first.evidence
    assert second.prior > first.prior


def test_drafted_tokens_are_looked_up_too() -> None:
    source, prefix = opened([4, 4, 9])
    assert guess(source, prefix) is None
    prefix.tokens.extend([8, 9])
    assert guess(source, prefix) == 8
