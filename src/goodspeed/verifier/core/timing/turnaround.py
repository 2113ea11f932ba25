"""How long a client takes from a verdict to its next proposal: network, drafting and hosts."""

from goodspeed.stats.ewma import Ewma

MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
MAX_DEVIATIONS = 4


class TurnaroundEstimate:
    """Smoothed mean and mean deviation, as TCP estimates its round-trip times (RFC 6298)."""

    def __init__(self) -> None:
        self._mean_s = Ewma(MEAN_GAIN)
        self._deviation_s = Ewma(DEVIATION_GAIN)

    @property
    def is_known(self) -> bool:
        return self._mean_s.value is not None

    @property
    def mean_s(self) -> float:
        """0 before the first observation."""
        return self._mean_s.get()

    @property
    def deviation_s(self) -> float:
        return self._deviation_s.get()

    @property
    def latest_s(self) -> float:
        """Nearly every proposal has arrived by then."""
        return self.mean_s + MAX_DEVIATIONS * self.deviation_s

    def observe(self, turnaround_s: float) -> None:
        mean_s = self._mean_s.value
        self._deviation_s.observe(turnaround_s / 2 if mean_s is None else abs(turnaround_s - mean_s))
        self._mean_s.observe(turnaround_s)
