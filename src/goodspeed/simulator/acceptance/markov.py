"""Bursty acceptance: a hidden state, easy or hard, each with its own rate, that changes from token to token."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.simulator.acceptance.block_trace import BlockTrace, DrawnBits, independent_bits


@config_dataclass
class MarkovConfig:
    """A two-state chain. The defaults describe hybrid drafts (docs/explain/acceptance_models.md)."""

    easy_rate: float = option(0.9, "probability of a right token in the easy state", ge=0.0, le=1.0)
    hard_rate: float = option(0.33, "probability of a right token in the hard state", ge=0.0, le=1.0)
    to_hard: float = option(0.1, "probability of leaving the easy state at a token", ge=0.0, le=1.0)
    to_easy: float = option(0.065, "probability of leaving the hard state at a token", ge=0.0, le=1.0)

    def __post_init__(self) -> None:
        if self.to_hard + self.to_easy == 0.0:
            raise ConfigError("to_hard and to_easy are 0, expected a state that can be left")

    @property
    def easy_share(self) -> float:
        """Share of tokens in the easy state."""
        return self.to_easy / (self.to_hard + self.to_easy)

    @property
    def stationary_rate(self) -> float:
        """Probability that a token is right, in the long run and at any single position."""
        return self.easy_share * self.easy_rate + (1.0 - self.easy_share) * self.hard_rate


class MarkovAcceptance:
    """Bits of a two-state chain that starts in its stationary distribution."""

    def __init__(self, config: MarkovConfig, concentration: float) -> None:
        self._config = config
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        return BlockTrace(_Chain(self._config).draw, self._concentration, rng)


class _Chain:
    """The state sequence of one answer."""

    __slots__ = ("_config", "_is_easy")

    def __init__(self, config: MarkovConfig) -> None:
        self._config = config
        self._is_easy: bool | None = None  # at the latest position; None before the first

    def draw(self, rng: np.random.Generator, num: int) -> DrawnBits:
        config, is_easy, states = self._config, self._is_easy, []
        for uniform in rng.random(num).tolist():
            if is_easy is None:
                is_easy = uniform < config.easy_share
            else:
                is_easy = uniform >= config.to_hard if is_easy else uniform < config.to_easy
            states.append(is_easy)
        self._is_easy = is_easy
        return independent_bits(np.where(states, config.easy_rate, config.hard_rate), rng)
