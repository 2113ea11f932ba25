"""What the drafter's core decides by."""

from dataclasses import dataclass

from goodspeed.config import option, table
from goodspeed.errors import ConfigError
from goodspeed.routing.policies import ROUTINGS
from goodspeed.windows.policies import WindowConfig


@dataclass(frozen=True, slots=True)
class RetryConfig:
    """How patient a drafter is. Raises ConfigError for values out of range."""

    backoff_s: float = option(0.05, "pause after the first failure in a row; doubles with each further one")
    backoff_max_s: float = option(5.0, "longest pause")
    give_up_s: float = option(30.0, "a stream without a verifier, or without room at it, for so long fails")
    repeat_s: float = option(5.0, "a proposal without a verdict is sent again after so long")
    verdict_s: float = option(30.0, "a verifier that owes a verdict for so long is given up")
    first_token_s: float = option(120.0, "a stream whose prompt is not processed after so long fails")

    def __post_init__(self) -> None:
        for name in ("backoff_s", "backoff_max_s", "repeat_s", "verdict_s", "first_token_s"):
            if getattr(self, name) <= 0.0:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.give_up_s < 0.0:
            raise ConfigError(f"give_up_s is {self.give_up_s}, expected 0 or more")


@dataclass(frozen=True, slots=True)
class CoreConfig:
    """The core's part of the drafter's config. Raises ConfigError for an unknown routing policy."""

    num_verifiers: int = 1  # in the list of those to dial
    window: WindowConfig = table(WindowConfig)
    retry: RetryConfig = table(RetryConfig)
    routing: str = "failover"

    def __post_init__(self) -> None:
        ROUTINGS[self.routing]
