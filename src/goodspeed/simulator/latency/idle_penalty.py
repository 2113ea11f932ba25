"""The idle penalty: after an idle time a step is slower, because threads must wake up and caches are cold."""

from collections.abc import Sequence

from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.latency.interpolation_grid import GridPoints, InterpolationGrid


class IdlePenalty:
    """Additional seconds of a step, by number of streams and idle time; 0 if nothing was measured."""

    def __init__(self, cells: Sequence[ProfileCell]) -> None:
        """`cells`: for some numbers of streams, the same step after several idle times, 0 among them."""
        base_s = {cell.streams: cell.median_s for cell in cells if not cell.pause_s}
        penalties: GridPoints = {
            (cell.streams, cell.pause_s): max(0.0, cell.median_s - base_s[cell.streams])
            for cell in sorted(cells, key=lambda cell: (cell.streams, cell.pause_s))
            if cell.streams in base_s
        }
        self._penalty = InterpolationGrid("idle penalty", ("streams", "idle time"), penalties) if penalties else None
        self._streams = [streams for streams, _ in penalties]
        self._idle_s = [idle_s for _, idle_s in penalties]

    def __call__(self, num_streams: int, idle_s: float) -> float:
        """Outside the measured range the penalty is that of the nearest edge."""
        if self._penalty is None or idle_s <= 0.0:
            return 0.0
        streams = min(max(num_streams, self._streams[0]), self._streams[-1])
        return self._penalty(streams, min(idle_s, self._idle_s[-1]))
