"""A linear latency model: every token costs the same, whatever else is in the step. It has no knee."""

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape


@config_dataclass
class LinearConfig:
    """The costs of a linear latency model."""

    base_s: float = option(0.010, "seconds of every step: reading the weights", ge=0.0)
    token_s: float = option(0.0001, "seconds per new token, prompt tokens included", ge=0.0)
    context_token_s: float = option(0.0, "seconds per KV token that attention reads", ge=0.0)
    stream_s: float = option(0.0, "seconds per stream", ge=0.0)
    prefill_token_s: float = option(0.0, "seconds per prompt token, in addition to token_s", ge=0.0)

    def __post_init__(self) -> None:
        if self.base_s + self.token_s == 0.0:
            raise ConfigError("base_s and token_s are 0, expected a step to take some time")

    def model(self) -> LatencyModel:
        """The configured model."""
        return LinearLatency(self)


class LinearLatency:
    """A base cost plus a cost for each part of the step."""

    def __init__(self, config: LinearConfig) -> None:
        self._config = config

    def step_s(self, shape: StepShape) -> float:
        config = self._config
        return (
            config.base_s
            + config.token_s * shape.num_tokens
            + config.context_token_s * shape.num_context_tokens
            + config.stream_s * shape.num_streams
            + config.prefill_token_s * shape.num_prefill_tokens
        )
