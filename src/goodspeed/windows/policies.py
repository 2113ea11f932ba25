"""The window policies by name."""

from collections.abc import Callable
from dataclasses import dataclass

from goodspeed.config import option, table
from goodspeed.errors import ConfigError
from goodspeed.registry import Registry
from goodspeed.windows.analytic import AnalyticWindow
from goodspeed.windows.confidence import ConfidenceWindow
from goodspeed.windows.fixed import FixedWindow
from goodspeed.windows.threshold import ThresholdConfig, ThresholdWindow
from goodspeed.windows.window_policy import WindowPolicy


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Which window policy, and its numbers. Raises ConfigError for an unknown policy and values out of range."""

    policy: str = option("confidence", "how many tokens to propose: confidence, fixed, threshold or analytic")
    max_tokens: int = option(16, "longest proposal, if the grant allows it; 0 proposes nothing")
    min_survival: float = option(0.2, "confidence: stop before a token that is accepted with a lower probability")
    threshold: ThresholdConfig = table(ThresholdConfig)

    def __post_init__(self) -> None:
        WINDOWS[self.policy]
        if self.max_tokens < 0:
            raise ConfigError(f"max_tokens is {self.max_tokens}, expected 0 or more")
        if not 0.0 <= self.min_survival <= 1.0:
            raise ConfigError(f"min_survival is {self.min_survival}, expected 0 to 1")


WINDOWS: Registry[Callable[[WindowConfig], WindowPolicy]] = Registry(
    "window policy",
    {
        "confidence": lambda config: ConfidenceWindow(config.max_tokens, config.min_survival),
        "fixed": lambda config: FixedWindow(config.max_tokens),
        "threshold": lambda config: ThresholdWindow(config.max_tokens, config.threshold),
        "analytic": lambda config: AnalyticWindow(config.max_tokens),
    },
)


def window_policy(config: WindowConfig) -> WindowPolicy:
    """The policy that the config describes."""
    return WINDOWS[config.policy](config)
