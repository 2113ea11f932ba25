"""Latency tables of engines, on the toy pair."""

import pytest

from goodspeed.bench.profile import Grid, profile_draft, profile_prefill, profile_verify
from goodspeed.engine.calibration import Calibration
from goodspeed.engine.hybrid import HybridDraft
from goodspeed.engine.lookup import LookupSource
from goodspeed.engine.toy import ToyDraft, ToyTarget, toy_info
from goodspeed.errors import ConfigError

TEXT = tuple(b"the quick brown fox jumps over the lazy dog")
GRID = Grid(streams=(1, 3), tokens=(1, 4), context=(5, 40), repeats=3)


def test_every_point_of_the_grid_is_measured_and_nothing_stays_open() -> None:
    engine, told = ToyTarget(), []
    cells = profile_verify(engine, TEXT, GRID, lambda: told.append(1))
    assert [(cell.streams, cell.tokens, cell.context) for cell in cells] == [
        (streams, tokens, context) for streams in (1, 3) for tokens in (1, 4) for context in (5, 40)
    ]
    assert all(0.0 < cell.min_s <= cell.median_s <= cell.p90_s for cell in cells)
    assert len(told) == len(GRID.points())
    assert engine.num_open == 0


def test_points_without_room_are_left_out_and_still_told() -> None:
    engine, told = ToyTarget(toy_info(max_context=50, kv_capacity=100)), []
    cells = profile_verify(engine, TEXT, GRID, lambda: told.append(1))
    assert {(cell.streams, cell.context) for cell in cells} == {(1, 5), (3, 5), (1, 40)}
    assert len(told) == len(GRID.points())


def test_prefill_is_measured_by_chunk() -> None:
    engine = ToyTarget()
    cells = profile_prefill(engine, TEXT, Grid((1, 2), (16, 64), (64,), repeats=2), lambda: None)
    assert [(cell.streams, cell.tokens) for cell in cells] == [(1, 16), (1, 64), (2, 16), (2, 64)]
    assert engine.num_open == 0


def test_draft_engines_say_how_much_they_drafted() -> None:
    grid = Grid((2,), (4,), (30,), repeats=2)
    (toy,) = profile_draft(ToyDraft(0.8), TEXT, grid, lambda: None)
    assert toy.num_drafted == 4.0
    (lookup,) = profile_draft(HybridDraft([LookupSource()], Calibration()), tuple(range(200)), grid, lambda: None)
    assert lookup.num_drafted == 0.0, "nothing repeats in that text"


@pytest.mark.parametrize(
    ("streams", "repeats", "complaint"), [((), 1, "streams is"), ((0,), 1, "streams is"), ((1,), 0, "repeats is 0")]
)
def test_a_senseless_grid_is_refused(streams: tuple[int, ...], repeats: int, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        Grid(streams, (1,), (1,), repeats)
