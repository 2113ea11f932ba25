"""One figure of a latency table."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProfileCell:
    """What was measured at a point; seconds of a whole step."""

    streams: int
    tokens: int
    context: int
    median_s: float
    min_s: float
    p90_s: float
    num_drafted: float | None = None
    """Draft engines: tokens that came, per stream and step, of those asked for."""
    pause_s: float = 0.0
    """How long the engine had nothing to do before each step."""
