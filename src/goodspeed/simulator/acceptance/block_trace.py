"""An acceptance trace whose bits are drawn block by block, in order, as far as they are needed."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.confidence import draw_confidences

BLOCK = 128  # positions: most answers need one or two

DrawnBits = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Probabilities of being right, float64 [n], and the outcomes, bool [n]."""

DrawBits = Callable[[np.random.Generator, int], DrawnBits]
"""Draws the next n positions, in order. May keep state."""


def independent_bits(probabilities: NDArray[np.float64], rng: np.random.Generator) -> DrawnBits:
    """Draw each bit independently."""
    return probabilities, rng.random(len(probabilities)) < probabilities


class BlockTrace:
    """An AcceptanceTrace whose bits depend only on the position in the answer.

    It takes a single number from `rng`, so traces from one generator may be read in any order. Bits and confidences
    have separate generators: reading the one never changes the other.
    """

    __slots__ = ("_bits", "_blocks", "_concentration", "_confidence_rng", "_confidences", "_draw", "_rng", "_seed")

    def __init__(self, draw: DrawBits, concentration: float, rng: np.random.Generator) -> None:
        self._seed = int(rng.integers(2**63))
        self._rng = np.random.default_rng(self._seed)
        self._draw = draw
        self._concentration = concentration
        self._bits: list[bool] = []
        self._confidences: list[float] = []
        self._blocks: list[DrawnBits] = []
        self._confidence_rng: np.random.Generator | None = None  # made when first needed

    def is_right(self, position: int, depth: int) -> bool:  # noqa: ARG002
        try:
            return self._bits[position]
        except IndexError:
            self._draw_to(position)
            return self._bits[position]

    def confidence(self, position: int, depth: int) -> float:  # noqa: ARG002
        try:
            return self._confidences[position]
        except IndexError:
            self._draw_confidences_to(position)
            return self._confidences[position]

    def _draw_to(self, position: int) -> None:
        while len(self._bits) <= position:
            self._blocks.append(self._draw(self._rng, BLOCK))
            self._bits.extend(self._blocks[-1][1].tolist())

    def _draw_confidences_to(self, position: int) -> None:
        self._draw_to(position)
        if self._confidence_rng is None:
            self._confidence_rng = np.random.default_rng((self._seed, 1))
        for block in self._blocks[len(self._confidences) // BLOCK :]:
            self._confidences.extend(draw_confidences(*block, self._concentration, self._confidence_rng).tolist())
