"""The window policies by name."""

from collections.abc import Callable

from goodspeed.config import config_dataclass, option, table
from goodspeed.registry import Registry
from goodspeed.windows.analytic import AnalyticWindow
from goodspeed.windows.awc.network import load_network
from goodspeed.windows.awc.policy import AwcConfig, AwcWindow
from goodspeed.windows.confidence import ConfidenceWindow
from goodspeed.windows.fixed import FixedWindow
from goodspeed.windows.threshold import ThresholdConfig, ThresholdWindow
from goodspeed.windows.ucb import UcbConfig, UcbWindow
from goodspeed.windows.window_policy import WindowPolicy


@config_dataclass
class WindowConfig:
    """The policy that chooses how many tokens a drafter proposes, and its parameters."""

    policy: str = option("confidence", "policy that chooses the length of a proposal", choices=lambda: WINDOWS)
    max_tokens: int = option(16, "longest proposal, if the grant allows it; 0: propose nothing", ge=0)
    min_survival: float = option(
        0.05,
        "confidence policy: end a draft before the first token whose survival (probability that it and all tokens "
        "before it are accepted) is lower; it ends earlier where drafting a token takes longer than it is worth",
        ge=0.0,
        le=1.0,
    )
    threshold: ThresholdConfig = table(ThresholdConfig)
    awc: AwcConfig = table(AwcConfig)
    ucb: UcbConfig = table(UcbConfig)


WINDOWS: Registry[Callable[[WindowConfig], WindowPolicy]] = Registry(
    "window policy",
    {
        "confidence": lambda config: ConfidenceWindow(config.max_tokens, config.min_survival),
        "fixed": lambda config: FixedWindow(config.max_tokens),
        "threshold": lambda config: ThresholdWindow(config.max_tokens, config.threshold),
        "analytic": lambda config: AnalyticWindow(config.max_tokens),
        "awc": lambda config: AwcWindow(config.max_tokens, config.awc, load_network(config.awc.weights)),
        "ucb": lambda config: UcbWindow(config.max_tokens, config.ucb),
    },
    group="goodspeed.window",
)


def window_policy(config: WindowConfig) -> WindowPolicy:
    """The policy that the config describes."""
    return WINDOWS[config.policy](config)
