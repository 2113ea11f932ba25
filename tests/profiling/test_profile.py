"""Latency tables of engines, on the toy pair."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.engine.calibration import Calibration
from goodspeed.engine.hybrid import DraftKnowledge, HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.toy_draft import ToyDraft
from goodspeed.engine.toy_target import ToyTarget, toy_info
from goodspeed.errors import ConfigError
from goodspeed.profiling.draft_profiler import profile_draft, profile_draft_after_pauses, profile_opening
from goodspeed.profiling.profile_grid import ProfileGrid, ProfilePoint
from goodspeed.profiling.target_profiler import TargetProfiler

TEXT = tuple(b"the quick brown fox jumps over the lazy dog")
GRID = ProfileGrid(streams=(1, 3), tokens=(1, 4), context=(5, 40))


def test_every_point_of_the_grid_is_measured_and_nothing_stays_open() -> None:
    engine, progress = ToyTarget(), []
    cells = TargetProfiler(engine, TEXT, 3).verify(GRID, lambda: progress.append(1))
    assert [(cell.streams, cell.tokens, cell.context) for cell in cells] == [
        (streams, tokens, context) for streams in (1, 3) for tokens in (1, 4) for context in (5, 40)
    ]
    assert all(0.0 < cell.min_s <= cell.median_s <= cell.p90_s for cell in cells)
    assert len(progress) == len(GRID.points())
    assert engine.num_open == 0


def test_points_beyond_the_kv_memory_are_left_out_but_count_as_progress() -> None:
    engine, progress = ToyTarget(toy_info(max_context=50, kv_capacity=100)), []
    cells = TargetProfiler(engine, TEXT, 3).verify(GRID, lambda: progress.append(1))
    assert {(cell.streams, cell.context) for cell in cells} == {(1, 5), (3, 5), (1, 40)}
    assert len(progress) == len(GRID.points())


def test_prefill_is_measured_by_chunk() -> None:
    engine = ToyTarget()
    cells = TargetProfiler(engine, TEXT, 2).prefill(ProfileGrid((1, 2), (16, 64), (64,)), lambda: None)
    assert [(cell.streams, cell.tokens) for cell in cells] == [(1, 16), (1, 64), (2, 16), (2, 64)]
    assert engine.num_open == 0


def test_draft_engines_say_how_much_they_drafted() -> None:
    grid = ProfileGrid((2,), (4,), (30,))
    (toy,) = profile_draft(ToyDraft(0.8), TEXT, grid, 2, lambda: None)
    assert toy.num_drafted == 4.0
    (lookup,) = profile_draft(
        HybridDraft(DraftKnowledge([LookupSource()], Calibration())), tuple(range(200)), grid, 2, lambda: None
    )
    assert lookup.num_drafted == 0.0, "nothing repeats in that text"


def test_prompts_are_read_one_at_a_time_and_closed() -> None:
    engine, progress = ToyDraft(0.8), []
    cells = profile_opening(engine, TEXT, (8, 32), 2, lambda: progress.append(1))
    assert [(cell.streams, cell.tokens) for cell in cells] == [(1, 8), (1, 32)]
    assert all(cell.median_s > 0.0 for cell in cells)
    assert len(progress) == 2


@pytest.mark.parametrize(
    ("streams", "message"), [((), "streams is empty, expected one or more values"), ((0,), r"streams\[0\] is 0")]
)
def test_a_grid_without_points_is_refused(streams: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProfileGrid(streams, (1,), (1,))


def test_at_least_one_step_is_measured() -> None:
    with pytest.raises(ConfigError, match="repeats is 0"):
        TargetProfiler(ToyTarget(), TEXT, 0)


def test_verification_and_prefill_share_an_engine() -> None:
    bench = TargetProfiler(ToyTarget(), TEXT, 1)
    grid = ProfileGrid((1,), (4,), (8,))
    assert len(bench.verify(grid, lambda: None)) == len(bench.prefill(grid, lambda: None)) == 1


def test_steps_after_pauses_are_measured_beside_steps_after_none() -> None:
    engine, progress = ToyTarget(), []
    cells = TargetProfiler(engine, TEXT, 2).after_pauses(
        ProfilePoint(3, 4, 8), (0.001, 0.002), lambda: progress.append(1)
    )
    assert [(cell.streams, cell.tokens, cell.pause_s) for cell in cells] == [(3, 4, 0.0), (3, 4, 0.001), (3, 4, 0.002)]
    assert all(0.0 < cell.median_s < 0.001 for cell in cells), "the pause is not counted"
    assert progress == [1]
    assert engine.num_open == 0


def test_draft_rounds_after_pauses_are_measured_and_closed() -> None:
    engine = ToyDraft(0.8)
    for _ in range(2):  # streams of the first time would be in the way
        cells = profile_draft_after_pauses(engine, TEXT, ProfilePoint(2, 4, 8), (0.001,), (1, lambda: None))
        assert [(cell.streams, cell.pause_s) for cell in cells] == [(2, 0.0), (2, 0.001)]


def test_pauses_are_not_measured_beyond_the_kv_memory() -> None:
    engine = ToyTarget(toy_info(max_context=50, kv_capacity=100))
    assert TargetProfiler(engine, TEXT, 3).after_pauses(ProfilePoint(1, 4, 40), (0.001,), lambda: None) == []


def test_a_pause_of_less_than_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pauses is \(-1.0,\)"):
        TargetProfiler(ToyTarget(), TEXT, 1).after_pauses(ProfilePoint(1, 1, 8), (-1.0,), lambda: None)


@given(st.integers(1, 16), st.integers(1, 17), st.integers(1, 600))
def test_streams_of_a_point_are_unlike_and_have_its_means(streams: int, tokens: int, context: int) -> None:
    point = ProfilePoint(streams, tokens, context)
    assert sum(point.stream_tokens) == pytest.approx(streams * tokens, abs=1)
    assert sum(point.stream_contexts) == pytest.approx(streams * context, abs=1 + streams / 2)
    assert min(point.stream_tokens) >= 1
    assert min(point.stream_contexts) >= 1
    if streams > 1 and tokens > 1:
        assert max(point.stream_tokens) == 2 * tokens - 1
        assert max(point.stream_contexts) == pytest.approx(1.5 * context, abs=1)


def test_a_single_stream_has_the_means_of_the_point() -> None:
    assert (ProfilePoint(1, 5, 40).stream_tokens, ProfilePoint(1, 5, 40).stream_contexts) == ([5], [40])
