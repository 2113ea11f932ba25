"""The penalty of steps after an idle time."""

import warnings

import pytest

from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.latency.idle_penalty import IdlePenalty


def cell(streams: int, pause_s: float, seconds: float) -> ProfileCell:
    return ProfileCell(streams, 4, 64, seconds, seconds, seconds, pause_s=pause_s)


CELLS = [
    *(cell(1, pause_s, seconds) for pause_s, seconds in ((0.0, 0.010), (0.01, 0.012), (0.1, 0.016))),
    *(cell(8, pause_s, seconds) for pause_s, seconds in ((0.0, 0.020), (0.01, 0.020), (0.1, 0.022))),
]


@pytest.mark.parametrize(
    ("streams", "pause_s", "penalty_s"),
    [(1, 0.0, 0.0), (1, 0.005, 0.001), (1, 0.055, 0.004), (8, 0.1, 0.002), (3, 0.1, 0.006 - 0.004 * 2 / 7)],
)
def test_the_penalty_is_interpolated_between_measured_idle_times(
    streams: int, pause_s: float, penalty_s: float
) -> None:
    assert IdlePenalty(CELLS)(streams, pause_s) == pytest.approx(penalty_s)


def test_the_penalty_is_constant_outside_the_measured_range_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert IdlePenalty(CELLS)(20, 60.0) == IdlePenalty(CELLS)(8, 0.1)
        assert IdlePenalty(CELLS[3:])(1, 60.0) == IdlePenalty(CELLS)(8, 0.1)


def test_the_penalty_is_never_negative() -> None:
    assert IdlePenalty([cell(1, 0.0, 0.010), cell(1, 0.1, 0.009)])(1, 0.1) == 0.0


def test_without_measurements_there_is_no_penalty() -> None:
    assert IdlePenalty([])(1, 1.0) == 0.0
    assert IdlePenalty([cell(1, 0.1, 0.010)])(1, 1.0) == 0.0, "there is no step without idle time to compare with"
