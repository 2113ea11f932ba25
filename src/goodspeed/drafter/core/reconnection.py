"""Whom to dial, and when: pauses grow while a verifier does not last."""

import numpy as np

from goodspeed.drafter.core.core_config import RetryConfig
from goodspeed.drafter.core.decisions import Dial


class Reconnection:
    """A verifier's first failure in a row costs no pause; each further one doubles it.

    A link that held for longer than the longest pause counts as a success, and the next failure as the first.
    """

    def __init__(self, verifier: int, config: RetryConfig) -> None:
        self.dial: Dial | None = Dial(verifier, 0.0)
        """None while the link is up."""
        self._verifier = verifier
        self._config = config
        self._num_failures = 0
        self._up_since: float | None = None

    def on_up(self, now: float) -> None:
        """The verifier has said Welcome."""
        self._up_since = now
        self.dial = None

    def on_lost(self, now: float, rng: np.random.Generator) -> None:
        """The link, or the attempt to make one, has failed."""
        if self._up_since is not None and now - self._up_since > self._config.backoff_max_s:
            self._num_failures = 0
        self._up_since = None
        pause_s = backoff_s(self._config, self._num_failures - 1, rng) if self._num_failures else 0.0
        self._num_failures += 1
        self.dial = Dial(self._verifier, now + pause_s)


def backoff_s(config: RetryConfig, num_before: int, rng: np.random.Generator) -> float:
    """The pause after `num_before` pauses before it: doubled each time, with jitter so that crowds spread."""
    longest = min(config.backoff_max_s, config.backoff_s * 2.0 ** min(num_before, 32))
    return float(longest * rng.uniform(0.5, 1.0))
