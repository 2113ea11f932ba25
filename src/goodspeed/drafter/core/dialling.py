"""Whom to dial next, and when: round the list of verifiers, with pauses that grow while nobody lasts."""

import numpy as np

from goodspeed.drafter.core.config import RetryConfig
from goodspeed.drafter.core.decision import Dial


class Dialling:
    """Every verifier of the list is tried once without a pause; after that each failure in a row doubles it.

    A link that held for longer than the longest pause counts as a success, and the next failure as the first.
    """

    def __init__(self, num_verifiers: int, config: RetryConfig) -> None:
        self._num_verifiers = num_verifiers
        self._config = config
        self._dial = Dial(0, float("-inf"))
        self._num_failures = 0
        self._up_since: float | None = None

    @property
    def next_dial(self) -> Dial:
        """Whom to dial while there is no link."""
        return self._dial

    def on_up(self, now: float) -> None:
        """The verifier dialled last has said Welcome."""
        self._up_since = now

    def on_lost(self, now: float, rng: np.random.Generator) -> None:
        """The link, or the attempt to make one, has failed."""
        if self._up_since is not None and now - self._up_since > self._config.backoff_max_s:
            self._num_failures = 0
        self._up_since = None
        self._num_failures += 1
        num_pauses = self._num_failures - self._num_verifiers
        pause_s = backoff_s(self._config, num_pauses - 1, rng) if num_pauses > 0 else 0.0
        self._dial = Dial((self._dial.verifier + 1) % self._num_verifiers, now + pause_s)


def backoff_s(config: RetryConfig, num_before: int, rng: np.random.Generator) -> float:
    """The pause after `num_before` pauses before it: doubled each time, with jitter so that crowds spread."""
    longest = min(config.backoff_max_s, config.backoff_s * 2.0 ** min(num_before, 32))
    return float(longest * rng.uniform(0.5, 1.0))
