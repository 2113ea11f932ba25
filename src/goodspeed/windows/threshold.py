"""The window that backs off by the last round's acceptance."""

from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.windows.window_policy import Window, WindowView


@dataclass(frozen=True, slots=True)
class ThresholdConfig:
    """The defaults are the preset of DSD's simulator (arXiv 2511.21669). Raises ConfigError for values out of range."""

    low: float = option(0.25, "threshold: acceptance of the last round up to which the small window is used")
    high: float = option(0.6, "threshold: acceptance of the last round from which the large window is used")
    small: int = option(2, "threshold: tokens of the small window")
    middle: int = option(4, "threshold: tokens of the window in between, and of the first")
    large: int = option(8, "threshold: tokens of the large window")

    def __post_init__(self) -> None:
        if not 0.0 <= self.low < self.high <= 1.0:
            raise ConfigError(f"low and high are {self.low} and {self.high}, expected 0 <= low < high <= 1")
        if not 0 <= self.small <= self.middle <= self.large:
            sizes = f"{self.small}, {self.middle} and {self.large}"
            raise ConfigError(f"small, middle and large are {sizes}, expected 0 <= small <= middle <= large")


class ThresholdWindow:
    """One of three lengths, by the share of the last proposal that was accepted.

    DSD asks once a request, of the request before; this asks once a round, of the round before.
    """

    def __init__(self, max_tokens: int, config: ThresholdConfig) -> None:
        self._max_tokens = max_tokens
        self._config = config

    def next_window(self, view: WindowView) -> Window:
        return Window(min(self._length(view.last_acceptance), self._max_tokens, view.grant))

    def _length(self, acceptance: float | None) -> int:
        config = self._config
        if acceptance is None or config.low < acceptance < config.high:
            return config.middle
        return config.small if acceptance <= config.low else config.large
