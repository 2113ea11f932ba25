"""How busy the engine is, for reports of the load."""


class LoadMeter:
    """Sums the steps between two reports, and keeps the sizes of the last batch."""

    def __init__(self) -> None:
        self.busy_permille = 0
        """Share of the time between the last two reports that steps took, in thousandths."""
        self.num_waiting = 0
        """Streams with work for the engine when the last batch with a step was closed."""
        self.num_streams = 0
        """Of these, the streams in the batch."""
        self.num_tokens = 0
        """New tokens of that batch."""
        self._num_waiting = 0  # as num_waiting, of the batch that is running
        self._busy_s = 0.0  # since the last report, in steps that have ended
        self._reported_at: float | None = None

    @property
    def has_news(self) -> bool:
        """The next report will differ: a step has ended since the last one, or none has and the last one had some."""
        return self._busy_s > 0.0 or self.busy_permille > 0

    def on_batch(self, num_waiting: int) -> None:
        """A batch with a step was closed while so many streams had work for the engine."""
        self._num_waiting = num_waiting

    def on_step(self, num_streams: int, num_tokens: int, step_s: float) -> None:
        """The step of that batch has ended."""
        self.num_waiting, self.num_streams, self.num_tokens = self._num_waiting, num_streams, num_tokens
        self._busy_s += step_s

    def on_report(self, now: float) -> None:
        """The load is reported. A step counts where it ends, so a long one may fill more than the time."""
        span_s = now - self._reported_at if self._reported_at is not None else 0.0
        self.busy_permille = min(1000, round(1000 * self._busy_s / span_s)) if span_s > 0.0 else 0
        self._busy_s, self._reported_at = 0.0, now
