"""An acceptance rate that changes from answer to answer: a user changes the subject, or a draft model is tuned."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.acceptance.block_trace import BlockTrace, independent_bits

SHAPES = ("linear", "step")


@config_dataclass
class DriftingConfig:
    """Acceptance rates that a client's answers go through."""

    rates: tuple[float, ...] = option(
        (0.8, 0.5), "rates that a client's answers go through, one after the other", ge=0.0, le=1.0, is_required=True
    )
    num_answers: int = option(10, "answers after which the next rate is reached", ge=1)
    shape: str = option(
        "step", "step: a rate holds until the next; linear: the rate changes in equal steps", choices=SHAPES
    )
    is_cyclic: bool = option(True, "start over with the first rate after the last; false: the last rate stays")

    def rate(self, request: int) -> float:
        """The rate of a client's request-th answer, from 0."""
        index, num_since = divmod(request, self.num_answers)
        current, following = self._rate(index), self._rate(index + 1)
        if self.shape == "step":
            return current
        return current + (following - current) * num_since / self.num_answers

    def _rate(self, index: int) -> float:
        return self.rates[index % len(self.rates) if self.is_cyclic else min(index, len(self.rates) - 1)]


class DriftingAcceptance:
    """Independent bits at the rate of their answer."""

    def __init__(self, config: DriftingConfig, concentration: float) -> None:
        self._config = config
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        rate = self._config.rate(request)
        return BlockTrace(lambda rng, num: independent_bits(np.full(num, rate), rng), self._concentration, rng)
