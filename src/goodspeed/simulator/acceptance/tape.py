"""A tape of bits that are drawn block by block, in order, as far as somebody asks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from goodspeed.simulator.acceptance.confidence import reports

BLOCK = 64  # positions

Chances = Callable[[np.random.Generator, int], NDArray[np.float64]]
"""Pr(right) of the next so many positions, in order: float64 [n]. May draw from the generator, and remember."""


class BlockTape:
    """A Tape whose bits depend on the place in the answer alone.

    Takes one number of `rng` and no more, so tapes from one generator may be asked in any order. Bits and reports have
    generators of their own: asking for the one never changes the other.
    """

    __slots__ = ("_bits", "_chances", "_concentration", "_drawn", "_reporting", "_reports", "_rng", "_seed")

    def __init__(self, chances: Chances, concentration: float, rng: np.random.Generator) -> None:
        self._seed = int(rng.integers(2**63))
        self._rng = np.random.default_rng(self._seed)
        self._chances = chances
        self._concentration = concentration
        self._bits: list[bool] = []
        self._reports: list[float] = []
        self._drawn: list[tuple[NDArray[np.float64], NDArray[np.bool_]]] = []  # chances and bits, by block
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
            chances = self._chances(self._rng, BLOCK)
            bits = self._rng.random(BLOCK) < chances
            self._drawn.append((chances, bits))
            self._bits.extend(bits.tolist())

    def _report_to(self, position: int) -> None:
        self._draw_to(position)
        if self._reporting is None:
            self._reporting = np.random.default_rng((self._seed, 1))
        for drawn in self._drawn[len(self._reports) // BLOCK :]:
            self._reports.extend(reports(*drawn, self._concentration, self._reporting).tolist())
