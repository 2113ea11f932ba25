"""Bursts: a hidden state, easy or hard, that changes from token to token, each with a rate of its own."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.errors import ConfigError
from goodspeed.simulator.acceptance.block_trace import BlockTrace, Drawn, independent_bits


@config_dataclass
class MarkovConfig:
    """A two-state chain. The defaults describe hybrid drafts (docs/acceptance.md)."""

    easy_rate: float = option(0.9, "probability of a right token in the easy state", ge=0.0, le=1.0)
    hard_rate: float = option(0.33, "probability of a right token in the hard state", ge=0.0, le=1.0)
    to_hard: float = option(0.1, "probability of leaving the easy state at a token", ge=0.0, le=1.0)
    to_easy: float = option(0.065, "probability of leaving the hard state at a token", ge=0.0, le=1.0)

    def __post_init__(self) -> None:
        if self.to_hard + self.to_easy == 0.0:
            raise ConfigError("to_hard and to_easy are 0, expected a state that can be left")

    @property
    def easy_share(self) -> float:
        """Of all tokens."""
        return self.to_easy / (self.to_hard + self.to_easy)

    @property
    def stationary_rate(self) -> float:
        """Share of right tokens in the long run, and at any one place."""
        return self.easy_share * self.easy_rate + (1.0 - self.easy_share) * self.hard_rate


class MarkovAcceptance:
    """Bits of a two-state chain that begins in its stationary distribution."""

    def __init__(self, config: MarkovConfig, concentration: float) -> None:
        self._config = config
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        return BlockTrace(_Chain(self._config).draw, self._concentration, rng)


class _Chain:
    """One answer's way through the states."""

    __slots__ = ("_config", "_is_easy")

    def __init__(self, config: MarkovConfig) -> None:
        self._config = config
        self._is_easy: bool | None = None  # at the latest position; None before the first

    def draw(self, rng: np.random.Generator, num: int) -> Drawn:
        config, is_easy, path = self._config, self._is_easy, []
        for chance in rng.random(num).tolist():
            if is_easy is None:
                is_easy = chance < config.easy_share
            else:
                is_easy = chance >= config.to_hard if is_easy else chance < config.to_easy
            path.append(is_easy)
        self._is_easy = is_easy
        return independent_bits(np.where(path, config.easy_rate, config.hard_rate), rng)
