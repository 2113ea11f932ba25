"""A trace of bits that are drawn block by block, in order, as far as somebody asks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.confidence import reports

BLOCK = 128  # positions: most answers need one or two

Drawn = tuple[NDArray[np.float64], NDArray[np.bool_]]
"""Chances of being right, float64 [n], and what came out, bool [n]."""

Draw = Callable[[np.random.Generator, int], Drawn]
"""The next so many positions, in order. May remember."""


def independent_bits(chances: NDArray[np.float64], rng: np.random.Generator) -> Drawn:
    """Each bit for itself."""
    return chances, rng.random(len(chances)) < chances


class BlockTrace:
    """A AcceptanceTrace whose bits depend on the place in the answer alone.

    Takes one number of `rng` and no more, so traces from one generator may be asked in any order. Bits and reports have
    generators of their own: asking for the one never changes the other.
    """

    __slots__ = ("_bits", "_concentration", "_draw", "_drawn", "_reporting", "_reports", "_rng", "_seed")

    def __init__(self, draw: Draw, concentration: float, rng: np.random.Generator) -> None:
        self._seed = int(rng.integers(2**63))
        self._rng = np.random.default_rng(self._seed)
        self._draw = draw
        self._concentration = concentration
        self._bits: list[bool] = []
        self._reports: list[float] = []
        self._drawn: list[Drawn] = []  # by block
        self._reporting: np.random.Generator | None = None  # made for who asks

    def is_right(self, position: int, depth: int) -> bool:  # noqa: ARG002
        try:
            return self._bits[position]
        except IndexError:
            self._draw_to(position)
            return self._bits[position]

    def confidence(self, position: int, depth: int) -> float:  # noqa: ARG002
        try:
            return self._reports[position]
        except IndexError:
            self._report_to(position)
            return self._reports[position]

    def _draw_to(self, position: int) -> None:
        while len(self._bits) <= position:
            self._drawn.append(self._draw(self._rng, BLOCK))
            self._bits.extend(self._drawn[-1][1].tolist())

    def _report_to(self, position: int) -> None:
        self._draw_to(position)
        if self._reporting is None:
            self._reporting = np.random.default_rng((self._seed, 1))
        for drawn in self._drawn[len(self._reports) // BLOCK :]:
            self._reports.extend(reports(*drawn, self._concentration, self._reporting).tolist())
