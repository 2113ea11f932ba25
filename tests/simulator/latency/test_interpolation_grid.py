"""Interpolation in tables with holes."""

import warnings

import pytest

from goodspeed.simulator.latency.interpolation_grid import ExtrapolationWarning, InterpolationGrid

AXES = ("streams", "context")


def plane(streams: float, context: float) -> float:
    return 2.0 + 3.0 * streams + 0.5 * context + 0.1 * streams * context


def grid(points: list[tuple[float, float]]) -> InterpolationGrid:
    return InterpolationGrid("a table", AXES, {point: plane(*point) for point in points})


def test_a_function_that_is_linear_in_each_axis_is_reproduced_exactly() -> None:
    table = grid([(streams, context) for streams in (1, 4, 9) for context in (10, 100, 200)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for point in ((1.0, 10.0), (2.5, 55.0), (9.0, 200.0), (8.9, 101.0)):
            assert table(*point) == pytest.approx(plane(*point))


def test_rows_may_have_different_lengths() -> None:
    table = grid([(1, 10), (1, 100), (1, 200), (4, 20), (4, 150)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table(2.0, 80.0) == pytest.approx(plane(2.0, 80.0))


def test_beyond_the_end_the_last_slope_continues_with_one_warning() -> None:
    table = grid([(1, 10), (1, 100), (4, 10), (4, 100)])
    with pytest.warns(ExtrapolationWarning, match="a table: context of 300 is outside of what was measured, 10 to 100"):
        assert table(2.0, 300.0) == pytest.approx(plane(2.0, 300.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table(8.0, 50.0) == pytest.approx(plane(8.0, 50.0))


def test_before_the_first_point_it_is_constant() -> None:
    table = grid([(2, 10), (4, 10)])
    with pytest.warns(ExtrapolationWarning, match="streams of 1"):
        assert table(1.0, 10.0) == plane(2.0, 10.0)


def test_a_falling_last_slope_is_not_extrapolated() -> None:
    table = InterpolationGrid("noise", ("tokens",), {(1.0,): 3.0, (2.0,): 1.0})
    with pytest.warns(ExtrapolationWarning):
        assert table(1000.0) == 1.0


def test_a_measured_point_needs_no_neighbour() -> None:
    """The longest context of four streams was measured; that of nine does not reach so far."""
    table = grid([(4, 10), (4, 200), (9, 10), (9, 100)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert table(4.0, 200.0) == plane(4.0, 200.0)
