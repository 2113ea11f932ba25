"""How long a client takes from a verdict to its next proposal: link, drafting and all."""

MEAN_GAIN = 1 / 8
DEVIATION_GAIN = 1 / 4
DEVIATIONS = 4


class TurnaroundEstimate:
    """Smoothed mean and mean deviation, as TCP estimates its round trips (RFC 6298)."""

    def __init__(self) -> None:
        self.is_known = False
        self.mean_s = 0.0
        self.deviation_s = 0.0

    def observe(self, turnaround_s: float) -> None:
        if not self.is_known:
            self.is_known, self.mean_s, self.deviation_s = True, turnaround_s, turnaround_s / 2
            return
        error_s = turnaround_s - self.mean_s
        self.deviation_s += DEVIATION_GAIN * (abs(error_s) - self.deviation_s)
        self.mean_s += MEAN_GAIN * error_s

    @property
    def longest_s(self) -> float:
        """Nearly every proposal has come by then."""
        return self.mean_s + DEVIATIONS * self.deviation_s
