"""A straight line: the same cost for every token, whatever else is in the step. It has no knee."""

import math
from dataclasses import dataclass

from goodspeed.config import option
from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape

_COSTS = ("base_s", "token_s", "context_token_s", "stream_s", "prefill_token_s")


@dataclass(frozen=True, slots=True)
class LinearConfig:
    """Raises ConfigError for a negative cost, and where all are 0."""

    base_s: float = option(0.010, "seconds of any step: reading the weights")
    token_s: float = option(0.0001, "seconds more per new token, prompt tokens included")
    context_token_s: float = option(0.0, "seconds more per KV token that attention reads")
    stream_s: float = option(0.0, "seconds more per stream")
    prefill_token_s: float = option(0.0, "seconds more per prompt token, beside token_s")

    def __post_init__(self) -> None:
        for name in _COSTS:
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not self.base_s + self.token_s > 0.0:
            raise ConfigError("base_s and token_s are 0, expected a step to take some time")

    def model(self) -> LatencyModel:
        """The model of these costs."""
        return LinearLatency(self)


class LinearLatency:
    """The sum of a base and of what each part of the step costs."""

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
