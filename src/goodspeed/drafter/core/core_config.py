"""What the drafter's core decides by."""

from goodspeed.config import config_dataclass, option, table
from goodspeed.drafter.core.run_ahead import AUTO, MODES
from goodspeed.routing.policies import ROUTINGS
from goodspeed.windows.policies import WindowConfig


@config_dataclass
class RetryConfig:
    """Timeouts of a drafter and the pauses between its attempts to reconnect."""

    backoff_s: float = option(0.05, "pause after the first failure in a row; doubles with each further one", gt=0.0)
    backoff_max_s: float = option(5.0, "longest pause between attempts", gt=0.0)
    give_up_s: float = option(
        30.0, "time without a verifier that accepts a stream, after which the stream fails", ge=0.0
    )
    repeat_s: float = option(5.0, "time without a verdict after which a proposal is sent again", gt=0.0)
    verdict_s: float = option(30.0, "time without a verdict after which a verifier is considered lost", gt=0.0)
    first_token_s: float = option(120.0, "time without a first token after which a stream fails", gt=0.0)


@config_dataclass
class DrafterCoreConfig:
    """The part of the drafter's configuration that its core needs."""

    num_verifiers: int = option(1, "number of verifiers that the drafter knows", ge=1)
    window: WindowConfig = table(WindowConfig)
    retry: RetryConfig = table(RetryConfig)
    routing: str = option("failover", "policy that chooses the verifier of a new stream", choices=ROUTINGS)
    run_ahead: str = option(AUTO, "whether drafting goes on past a proposal that is under way", choices=MODES)
