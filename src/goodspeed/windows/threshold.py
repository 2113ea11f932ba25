"""The window that depends on the acceptance of the last round."""

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.windows.window_policy import Window, WindowView


@config_dataclass
class ThresholdConfig:
    """Windows by the acceptance of the last round. The defaults are those of DSD's simulator (arXiv 2511.21669)."""

    low: float = option(0.25, "acceptance of the last round up to which the small window is used", ge=0.0, le=1.0)
    high: float = option(0.6, "acceptance of the last round from which the large window is used", ge=0.0, le=1.0)
    small: int = option(2, "draft tokens of the small window", ge=0)
    middle: int = option(4, "draft tokens of the window in between, and of the first one", ge=0)
    large: int = option(8, "draft tokens of the large window", ge=0)

    def __post_init__(self) -> None:
        if self.low >= self.high:
            raise ConfigError(f"low is {self.low} and high is {self.high}, expected low < high")
        if not self.small <= self.middle <= self.large:
            sizes = f"{self.small}, {self.middle} and {self.large}"
            raise ConfigError(f"small, middle and large are {sizes}, expected small <= middle <= large")


class ThresholdWindow:
    """One of three lengths, by the accepted fraction of the last proposal.

    DSD decides once per request, from the request before; this policy decides every round, from the round before.
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
