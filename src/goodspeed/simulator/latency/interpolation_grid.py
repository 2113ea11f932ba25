"""Interpolation in measured tables, in any number of axes, with places where nothing was measured."""

import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping

GridPoints = dict[tuple[float, ...], float]
"""RunMetrics by place."""

OnOutside = Callable[[int, float, float, float], None]
"""Told of the axis, the value, and the least and greatest measured there."""


class ExtrapolationWarning(UserWarning):
    """A figure comes from outside of what was measured."""


class InterpolationGrid:
    """Piecewise linear in every axis; the first is looked up first.

    Rows need not be equally long: each is interpolated along its own cells, then between neighbouring rows. Beyond a
    row's end its last slope goes on (never downwards); before its beginning it is flat. The first such figure warns.
    """

    def __init__(self, name: str, axes: tuple[str, ...], cells: Mapping[tuple[float, ...], float]) -> None:
        """`cells` maps a place on all axes to what was measured there; at least one."""
        assert cells
        self._name = name
        self._axes = axes
        self._outside = ""
        self._has_warned = False
        self._root = _Row(0, cells, self._on_outside)

    def __call__(self, *place: float) -> float:
        """The figure at a value for every axis."""
        figure = self._root.at(place)
        if self._outside and not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{self._name}: {self._outside}", ExtrapolationWarning, stacklevel=3)
        return figure

    def _on_outside(self, axis: int, value: float, least: float, most: float) -> None:
        if not self._outside:
            self._outside = f"{self._axes[axis]} of {value:g} is outside of what was measured, {least:g} to {most:g}"


class _Row:
    """What was measured along one axis: numbers on the last axis, rows of the next one on the others."""

    def __init__(self, axis: int, cells: Mapping[tuple[float, ...], float], on_outside: OnOutside) -> None:
        parts: dict[float, dict[tuple[float, ...], float]] = {}
        for (value, *others), figure in cells.items():
            parts.setdefault(value, {})[tuple(others)] = figure
        self._axis = axis
        self._on_outside = on_outside
        self._values = sorted(parts)
        self._rows = [_row(axis + 1, parts[value], on_outside) for value in self._values]

    def at(self, place: tuple[float, ...]) -> float:
        value, others, values = place[0], place[1:], self._values
        if not values[0] <= value <= values[-1]:
            self._on_outside(self._axis, value, values[0], values[-1])
        right = min(bisect_left(values, value), len(values) - 1)
        if right == 0 or values[right] == value:
            return self._figure(right, others)
        before, after = self._figure(right - 1, others), self._figure(right, others)
        share = (value - values[right - 1]) / (values[right] - values[right - 1])
        if share > 1.0:
            return after + (share - 1.0) * max(0.0, after - before)
        return before + share * (after - before)

    def _figure(self, index: int, others: tuple[float, ...]) -> float:
        row = self._rows[index]
        return row if isinstance(row, float) else row.at(others)


def _row(axis: int, cells: Mapping[tuple[float, ...], float], on_outside: OnOutside) -> "_Row | float":
    return float(cells[()]) if () in cells else _Row(axis, cells, on_outside)
