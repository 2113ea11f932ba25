"""Acceptance by runs: the rate depends on the number of right tokens just before, and on the ease of the answer.

Unlike the depth in a draft, a run continues across the ends of rounds, so it does not depend on any window.
"""

import math

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.acceptance.block_trace import BlockTrace, DrawnBits


@config_dataclass
class RenewalConfig:
    """A rate for each length of the current run. The defaults are those of docs/explain/acceptance_models.md."""

    rates: tuple[float, ...] = option(
        (0.40, 0.55, 0.64, 0.70, 0.72, 0.78, 0.81, 0.87),
        "probability that a token is right after 0, 1, 2, ... right ones in a row; the last rate holds for all longer "
        "runs",
        ge=0.0,
        le=1.0,
        is_required=True,
    )
    spread: float = option(
        0.0, "standard deviation among answers of the log-odds of all rates; 0: answers are alike", ge=0.0
    )

    def of_answer(self, ease: float) -> tuple[float, ...]:
        """The rates of an answer; `ease`: standard deviations by which it is easier than the median answer."""
        factor = math.exp(self.spread * ease)
        return tuple(rate * factor / (rate * factor + 1.0 - rate) for rate in self.rates)

    @property
    def stationary_rate(self) -> float:
        """Long-run share of right tokens of the median answer: mean run / (mean run + the wrong token that ends it)."""
        survival = np.cumprod(self.rates)
        if survival[-1] == 0.0:
            run = float(survival.sum())
        elif self.rates[-1] == 1.0:
            return 1.0
        else:
            run = float(survival[:-1].sum() + survival[-1] / (1.0 - self.rates[-1]))
        return run / (run + 1.0)


class RenewalAcceptance:
    """Bits by runs. An answer starts as if after a wrong token."""

    def __init__(self, config: RenewalConfig, concentration: float) -> None:
        self._config = config
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> BlockTrace:  # noqa: ARG002
        rates = self._config.rates
        if self._config.spread:
            rates = self._config.of_answer(float(rng.standard_normal()))
        return BlockTrace(_Runs(rates).draw, self._concentration, rng)


class _Runs:
    """The current run of one answer."""

    __slots__ = ("_rates", "_run")

    def __init__(self, rates: tuple[float, ...]) -> None:
        self._rates = rates
        self._run = 0

    def draw(self, rng: np.random.Generator, num: int) -> DrawnBits:
        last, run, probabilities, bits = len(self._rates) - 1, self._run, [], []
        for uniform in rng.random(num).tolist():
            probabilities.append(self._rates[min(run, last)])
            bits.append(uniform < probabilities[-1])
            run = run + 1 if bits[-1] else 0
        self._run = run
        return np.array(probabilities), np.array(bits)
