"""The search ends, within a bounded number of tries, at the largest count that meets a criterion."""

import itertools
import math
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from goodspeed.experiment.capacity_search import CapacitySearch, SearchResult, client_counts, steps_of_doubling

RESOLUTIONS = st.sampled_from([0.01, 0.05, 0.1, 1.0])


def counts_of(lowest: int, extra: int, resolution: float) -> list[int]:
    return client_counts(lowest, lowest + extra, resolution)


COUNTS = st.builds(counts_of, st.integers(1, 20), st.integers(0, 5000), RESOLUTIONS)


def searched(search: CapacitySearch, is_met: Callable[[int], bool]) -> tuple[SearchResult, dict[int, bool]]:
    """The result, and every outcome by count."""
    tried: dict[int, bool] = {}
    while (count := search.next_count()) is not None:
        assert count not in tried, "no count is tried twice"
        tried[count] = is_met(count)
        search.report(count, tried[count])
    return search.result(), tried


def max_tries(counts: list[int], first_step: int, max_step: int) -> int:
    """The start, steps that double and then stay, the bisection of the last of them, and one count beyond."""
    return (
        1
        + math.ceil(math.log2(max_step / first_step))
        + len(counts) // max_step
        + 1
        + math.ceil(math.log2(max_step))
        + 1
    )


@given(COUNTS, st.integers(1, 6000), st.integers(1, 40), st.integers(0, 7000))
def test_a_monotone_criterion_gives_its_boundary(counts: list[int], start: int, first_step: int, limit: int) -> None:
    search = CapacitySearch(counts, start, first_step, max(first_step, 14))
    result, tried = searched(search, lambda count: count <= limit)
    met = [count for count in counts if count <= limit]
    failing = [count for count in counts if count > limit]
    assert result == SearchResult(met[-1] if met else 0, failing[0] if failing else None, None)
    assert result.is_monotone
    assert len(tried) <= max_tries(counts, first_step, max(first_step, 14))


@given(COUNTS, st.integers(1, 6000), st.integers(1, 14), st.data())
def test_any_criterion_ends_between_a_count_that_meets_it_and_the_next_that_fails(
    counts: list[int], start: int, first_step: int, data: st.DataObject
) -> None:
    search = CapacitySearch(counts, start, first_step, 14)
    result, tried = searched(search, lambda _: data.draw(st.booleans()))
    assert len(tried) <= max_tries(counts, first_step, 14)
    if result.num_clients:
        assert tried[result.num_clients]
    else:
        assert not tried[counts[0]]
    if result.first_failing is None:
        assert result.num_clients == counts[-1]
        return
    assert not tried[result.first_failing]
    assert [count for count in counts if result.num_clients < count < result.first_failing] == []
    beyond = [count for count in counts if count > result.first_failing]
    assert not beyond or beyond[0] in tried, "the count after the first failing one was tried"
    assert result.met_beyond == (beyond[0] if beyond and tried[beyond[0]] else None)


def test_a_count_that_is_met_beyond_a_failing_one_is_reported() -> None:
    result, _ = searched(CapacitySearch([1, 2, 3, 4, 5, 6], 2, 1, 4), lambda count: count in {1, 2, 4})
    assert result == SearchResult(2, 3, 4)
    assert not result.is_monotone


def test_a_good_guess_takes_few_tries() -> None:
    counts = client_counts(1, 4096, 0.05)
    guess = counts[len(counts) // 2]
    _, tried = searched(CapacitySearch(counts, guess, 1, 14), lambda count: count <= guess)
    assert len(tried) == 3, "the guess, the next one, and one beyond"


@given(st.integers(1, 50), st.integers(0, 5000), RESOLUTIONS)
def test_counts_ascend_in_steps_of_the_resolution(lowest: int, extra: int, resolution: float) -> None:
    counts = counts_of(lowest, extra, resolution)
    assert counts == sorted(set(counts))
    assert (counts[0], counts[-1]) == (lowest, lowest + extra)
    for low, high in itertools.pairwise(counts):
        assert high <= low * (1 + resolution) * 1.01 + 1.5


def test_searches_with_other_ends_try_the_same_counts() -> None:
    few, many = client_counts(3, 500, 0.05), client_counts(12, 4096, 0.05)
    assert set(few[1:-1]) - set(many) <= {count for count in few if count <= 12}


def test_steps_of_doubling_double() -> None:
    counts = client_counts(1, 4096, 0.05)
    at = counts.index(next(count for count in counts if count > 400))
    assert 1.8 < counts[at + steps_of_doubling(0.05)] / counts[at] < 2.2
