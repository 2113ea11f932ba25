"""What a step takes more for coming after a pause: threads that slept are woken, and caches have gone cold."""

from collections.abc import Sequence

from goodspeed.profiling.cell import ProfileCell
from goodspeed.simulator.latency.interpolation_grid import GridPoints, InterpolationGrid


class IdlePenalty:
    """Seconds more than without a pause, by streams and pause; nothing where none was measured."""

    def __init__(self, cells: Sequence[ProfileCell]) -> None:
        """`cells` hold, for some numbers of streams, the same step after pauses of several lengths, 0 among them."""
        base_s = {cell.streams: cell.median_s for cell in cells if not cell.pause_s}
        more: GridPoints = {
            (cell.streams, cell.pause_s): max(0.0, cell.median_s - base_s[cell.streams])
            for cell in sorted(cells, key=lambda cell: (cell.streams, cell.pause_s))
            if cell.streams in base_s
        }
        self._more = InterpolationGrid("steps after a pause", ("streams", "pause"), more) if more else None
        self._streams = [streams for streams, _ in more]
        self._pauses_s = [pause_s for _, pause_s in more]

    def __call__(self, num_streams: int, pause_s: float) -> float:
        """Outside of what was measured it is what it was at the edge."""
        if self._more is None or pause_s <= 0.0:
            return 0.0
        streams = min(max(num_streams, self._streams[0]), self._streams[-1])
        return self._more(streams, min(pause_s, self._pauses_s[-1]))
