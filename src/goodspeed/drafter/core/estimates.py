"""What a drafter measures of its link and of itself, smoothed."""

from dataclasses import dataclass, field

NEWEST = 0.2
"""Weight of the newest measurement."""


@dataclass(slots=True)
class Smoothed:
    """An exponential average that begins with its first measurement."""

    value: float | None = None

    def observe(self, measured: float) -> None:
        self.value = measured if self.value is None else self.value + NEWEST * (measured - self.value)

    def get(self, default: float = 0.0) -> float:
        """`default` before the first measurement."""
        return default if self.value is None else self.value


@dataclass(slots=True)
class Estimates:
    """Of one drafter, over all its streams; those of the link begin anew with every link."""

    rtt_s: Smoothed = field(default_factory=Smoothed)
    verify_s: Smoothed = field(default_factory=Smoothed)
    drafting_s_per_token: Smoothed = field(default_factory=Smoothed)

    def on_link_up(self) -> None:
        self.rtt_s = Smoothed()
        self.verify_s = Smoothed()
