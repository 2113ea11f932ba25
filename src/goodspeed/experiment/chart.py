"""Line and bar charts as SVG text, without libraries or scripts. Colours are CSS variables of the page."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape

WIDTH, HEIGHT = 640, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 12, 46
COLOURS = 8
"""Number of the page's colour variables, --c0 ... --c7."""
NUM_TICKS = 6
MAX_BAR_SHARE, ALL_BARS_SHARE = 0.5, 0.8
"""Shares of a category's width: maximum of one bar, and of all bars together."""


@dataclass(frozen=True, slots=True)
class Series:
    """The points of a line, or bars if x counts categories. `low` and `high`, if given, are the ends of error bars."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart. With `categories`, x is the index of a category."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    is_log_x: bool = False
    has_points: bool = True
    categories: tuple[str, ...] = ()
    mark_x: float | None = None
    """Position of a dashed vertical line."""


def svg(chart: Chart) -> str:
    """The chart as SVG. Points that are not finite are left out."""
    x_scale, y_scale = _x_scale(chart), _y_scale(chart)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_y_axis(chart, y_scale),
        *_x_axis(chart, x_scale),
        *_mark(chart, x_scale),
    ]
    for number, series in enumerate(chart.series):
        colour, scales = f"var(--c{number % COLOURS})", (x_scale, y_scale)
        if chart.categories:
            width = min(MAX_BAR_SHARE, ALL_BARS_SHARE / len(chart.series))
            offset = width * (number - (len(chart.series) - 1) / 2)
            placed = replace(series, x=[x + offset for x in series.x])
            parts += [*_bars(placed, width, colour, scales), *_error_bars(placed, "var(--text)", scales)]
        else:
            parts += [*_line(chart, series, colour, scales), *_error_bars(series, colour, scales)]
    return "\n".join([*parts, "</svg>"])


@dataclass(frozen=True, slots=True)
class _Scale:
    """A mapping from values to pixels."""

    low: float
    high: float
    from_px: float
    to_px: float
    is_log: bool = False

    def px(self, value: float) -> float:
        low, high, value = (
            (math.log(v) for v in (self.low, self.high, value)) if self.is_log else (self.low, self.high, value)
        )
        return round(self.from_px + (value - low) / (high - low) * (self.to_px - self.from_px), 2)

    def ticks(self) -> list[float]:
        if self.is_log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = (1, 2, 5) if len(decades) <= 4 else (1,)
            return [tick for d in decades for s in steps if self.low <= (tick := s * 10.0**d) <= self.high]
        step = _round_step((self.high - self.low) / NUM_TICKS)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def _round_step(rough: float) -> float:
    """The next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= rough * (1 - 1e-9))


def _x_scale(chart: Chart) -> _Scale:
    pixels = (LEFT, WIDTH - RIGHT)
    if chart.categories:
        return _Scale(-0.5, len(chart.categories) - 0.5, *pixels)
    values = [x for series in chart.series for x in series.x if math.isfinite(x) and (x > 0 or not chart.is_log_x)]
    low, high = (min(values), max(values)) if values else (1.0, 2.0)
    if low == high:
        low, high = (low / 2, high * 2) if chart.is_log_x else (low - 0.5, high + 0.5)
    return _Scale(low, high, *pixels, chart.is_log_x)


def _y_scale(chart: Chart) -> _Scale:
    """The y axis always includes 0, so that heights can be compared."""
    values = [y for series in chart.series for part in (series.y, series.low, series.high) for y in part]
    values = [y for y in values if math.isfinite(y)]
    low, high = min([0.0, *values]), max([0.0, *values])
    high = high if high > low else low + 1.0
    return _Scale(low, high + 0.05 * (high - low), HEIGHT - BOTTOM, TOP)


def _y_axis(chart: Chart, scale: _Scale) -> Iterator[str]:
    for tick in scale.ticks():
        y = scale.px(tick)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{tick:g}</text>'
    middle = (HEIGHT - BOTTOM + TOP) / 2
    yield f'<text transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(chart.y_label)}</text>'


def _x_axis(chart: Chart, scale: _Scale) -> Iterator[str]:
    bottom = HEIGHT - BOTTOM
    labels = [(float(i), name) for i, name in enumerate(chart.categories)]
    labels = labels or [(tick, f"{tick:g}") for tick in scale.ticks()]
    yield f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    for value, label in labels:
        yield f'<text x="{scale.px(value)}" y="{bottom + 17}" text-anchor="middle">{escape(label)}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.x_label)}</text>'


def _mark(chart: Chart, scale: _Scale) -> Iterator[str]:
    if chart.mark_x is not None and scale.low <= chart.mark_x <= scale.high:
        x = scale.px(chart.mark_x)
        yield f'<line class="mark" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'


def _bars(series: Series, width: float, colour: str, scales: tuple[_Scale, _Scale]) -> Iterator[str]:
    x_scale, y_scale = scales
    for x, y in zip(series.x, series.y, strict=True):
        if math.isfinite(y):
            left, right = x_scale.px(x - 0.45 * width), x_scale.px(x + 0.45 * width)
            top, bottom = sorted((y_scale.px(y), y_scale.px(0.0)))
            size = f'width="{right - left:.2f}" height="{bottom - top:.2f}"'
            yield f'<rect x="{left}" y="{top}" {size} fill="{colour}" fill-opacity="0.75"/>'


def _line(chart: Chart, series: Series, colour: str, scales: tuple[_Scale, _Scale]) -> Iterator[str]:
    x_scale, y_scale = scales
    points = [
        (x_scale.px(x), y_scale.px(y))
        for x, y in zip(series.x, series.y, strict=True)
        if math.isfinite(x) and math.isfinite(y) and (x > 0 or not chart.is_log_x)
    ]
    line = " ".join(f"{x},{y}" for x, y in points)
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"/>'
    if chart.has_points:
        yield from (f'<circle cx="{x}" cy="{y}" r="3" fill="{colour}"/>' for x, y in points)


def _error_bars(series: Series, colour: str, scales: tuple[_Scale, _Scale]) -> Iterator[str]:
    """Error bars. Those of a single replication are infinite and not drawn."""
    x_scale, y_scale = scales
    for x, low, high in zip(series.x, series.low, series.high, strict=False):
        if math.isfinite(low) and math.isfinite(high):
            at, ends = x_scale.px(x), f'y1="{y_scale.px(low)}" y2="{y_scale.px(high)}"'
            yield f'<line x1="{at}" x2="{at}" {ends} stroke="{colour}" stroke-width="1.3"/>'
