"""An acceptance rate for each depth of a draft. Real acceptance is not geometric: it often grows with depth."""

import numpy as np

from goodspeed.config import config_dataclass, option
from goodspeed.simulator.acceptance.block_trace import BLOCK
from goodspeed.simulator.acceptance.confidence import draw_confidences


@config_dataclass
class PositionalConfig:
    """A rate for each position of a draft. The defaults: four layers of SmolLM2-135M at window 6, as measured."""

    rates: tuple[float, ...] = option(
        (0.27, 0.41, 0.44, 0.54, 0.70, 0.78),
        "probability that the first, second, ... token of a draft is right given those before it; the last rate holds "
        "for all further tokens",
        ge=0.0,
        le=1.0,
        is_required=True,
    )


class PositionalAcceptance:
    """Bits that depend on the depth in the draft as well as on the position in the answer."""

    def __init__(self, config: PositionalConfig, concentration: float) -> None:
        self._rates = np.array(config.rates)
        self._concentration = concentration

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> "PositionalTrace":  # noqa: ARG002
        return PositionalTrace(self._rates, self._concentration, rng)


class PositionalTrace:
    """A position has one uniform number, which each depth compares with its own rate. Otherwise like BlockTrace."""

    __slots__ = ("_bits", "_concentration", "_confidence_rng", "_confidences", "_last", "_rates", "_rng", "_seed")

    def __init__(
        self,
        rates: np.ndarray[tuple[int], np.dtype[np.float64]],  # [depths]
        concentration: float,
        rng: np.random.Generator,
    ) -> None:
        self._seed = int(rng.integers(2**63))
        self._rng = np.random.default_rng(self._seed)
        self._rates = rates
        self._last = len(rates) - 1
        self._concentration = concentration
        self._bits: list[list[bool]] = []  # by position, then depth
        self._confidences: list[list[float]] = []
        self._confidence_rng: np.random.Generator | None = None

    def is_right(self, position: int, depth: int) -> bool:
        try:
            row = self._bits[position]
        except IndexError:
            self._draw_to(position)
            row = self._bits[position]
        return row[depth if depth < self._last else self._last]

    def confidence(self, position: int, depth: int) -> float:
        while len(self._confidences) <= position:
            self._draw_confidence_block()
        return self._confidences[position][min(depth, self._last)]

    def _draw_to(self, position: int) -> None:
        while len(self._bits) <= position:
            self._bits.extend((self._rng.random((BLOCK, 1)) < self._rates).tolist())

    def _draw_confidence_block(self) -> None:
        start = len(self._confidences)
        self._draw_to(start)
        if self._confidence_rng is None:
            self._confidence_rng = np.random.default_rng((self._seed, 1))
        bits = np.array(self._bits[start : start + BLOCK])
        probabilities = np.broadcast_to(self._rates, bits.shape)
        self._confidences.extend(
            draw_confidences(probabilities, bits, self._concentration, self._confidence_rng).tolist()
        )
