"""Interpolation in measured tables with any number of axes and with missing points."""

import warnings
from bisect import bisect_left
from collections.abc import Callable, Mapping

GridPoints = dict[tuple[float, ...], float]
"""Values by coordinates."""

OnOutside = Callable[[int, float, float, float], None]
"""Called with the axis, the coordinate, and the lowest and highest measured coordinate."""


class ExtrapolationWarning(UserWarning):
    """A value was extrapolated beyond the measured range."""


class InterpolationGrid:
    """A piecewise linear function of several coordinates.

    Rows need not have the same length: each is interpolated over its own points, then between neighbouring rows. Beyond
    the last point the last slope continues, unless it falls; before the first point the function is constant. The first
    extrapolation emits an ExtrapolationWarning.
    """

    def __init__(self, name: str, axes: tuple[str, ...], points: Mapping[tuple[float, ...], float]) -> None:
        """`points` maps coordinates on all axes to measured values; at least one."""
        assert points
        self._name = name
        self._axes = axes
        self._outside = ""
        self._has_warned = False
        self._root = _Row(0, points, self._on_outside)

    def __call__(self, *coordinates: float) -> float:
        """The value at these coordinates, one per axis."""
        value = self._root.at(coordinates)
        if self._outside and not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{self._name}: {self._outside}", ExtrapolationWarning, stacklevel=3)
        return value

    def _on_outside(self, axis: int, coordinate: float, lowest: float, highest: float) -> None:
        if not self._outside:
            self._outside = (
                f"{self._axes[axis]} of {coordinate:g} is outside of what was measured, {lowest:g} to {highest:g}"
            )


class _Row:
    """The points along one axis: values on the last axis, rows of the next axis otherwise."""

    def __init__(self, axis: int, points: Mapping[tuple[float, ...], float], on_outside: OnOutside) -> None:
        parts: dict[float, dict[tuple[float, ...], float]] = {}
        for (coordinate, *others), value in points.items():
            parts.setdefault(coordinate, {})[tuple(others)] = value
        self._axis = axis
        self._on_outside = on_outside
        self._coordinates = sorted(parts)
        self._rows = [_row(axis + 1, parts[coordinate], on_outside) for coordinate in self._coordinates]

    def at(self, coordinates: tuple[float, ...]) -> float:
        coordinate, others, known = coordinates[0], coordinates[1:], self._coordinates
        if not known[0] <= coordinate <= known[-1]:
            self._on_outside(self._axis, coordinate, known[0], known[-1])
        right = min(bisect_left(known, coordinate), len(known) - 1)
        if right == 0 or known[right] == coordinate:
            return self._value(right, others)
        before, after = self._value(right - 1, others), self._value(right, others)
        share = (coordinate - known[right - 1]) / (known[right] - known[right - 1])
        if share > 1.0:
            return after + (share - 1.0) * max(0.0, after - before)
        return before + share * (after - before)

    def _value(self, index: int, others: tuple[float, ...]) -> float:
        row = self._rows[index]
        return row if isinstance(row, float) else row.at(others)


def _row(axis: int, points: Mapping[tuple[float, ...], float], on_outside: OnOutside) -> "_Row | float":
    return float(points[()]) if () in points else _Row(axis, points, on_outside)
