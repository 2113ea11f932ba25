"""Kinds of drift of the acceptance rates, each within limits of range and speed."""

from collections.abc import Callable

import numpy as np

from goodspeed.fluid.bound import DriftLimits
from goodspeed.fluid.problem import Floats

DriftKind = Callable[[DriftLimits, int, np.random.Generator], Floats]
"""(limits, rounds, rng) -> rates, [rounds, clients]."""

MEAN_PHASE = 150  # rounds between random turns of a client


def together(drift: DriftLimits, num_rounds: int, rng: np.random.Generator) -> Floats:
    """All rates rise and fall together at full speed: the optimum moves as fast as possible."""
    phase = np.full(len(drift.low), rng.random())
    return _zigzag(drift, num_rounds, phase)


def opposed(drift: DriftLimits, num_rounds: int, rng: np.random.Generator) -> Floats:
    """A random half rises while the other half falls: the budget has to move."""
    phase = rng.random() + np.where(rng.permutation(len(drift.low)) % 2, 0.5, 0.0)
    return _zigzag(drift, num_rounds, phase)


def turning(drift: DriftLimits, num_rounds: int, rng: np.random.Generator) -> Floats:
    """Each rate moves at full speed and turns at random times of its own."""
    turns = rng.random((num_rounds, len(drift.low))) < 1.0 / MEAN_PHASE
    return _folded(drift, np.where(np.cumsum(turns, axis=0) % 2, 1.0, -1.0), rng)


def walking(drift: DriftLimits, num_rounds: int, rng: np.random.Generator) -> Floats:
    """Random walks: independent steps up or down, of full size."""
    return _folded(drift, rng.choice((-1.0, 1.0), (num_rounds, len(drift.low))), rng)


DRIFT_KINDS: tuple[DriftKind, ...] = (together, opposed, turning, walking)


def _zigzag(drift: DriftLimits, num_rounds: int, phase: Floats) -> Floats:
    """Zigzag between the limits at full speed; `phase` is in periods."""
    return _reflected(drift, 2.0 * (drift.high - drift.low) * phase + drift.speed * np.arange(num_rounds)[:, None])


def _folded(drift: DriftLimits, directions: Floats, rng: np.random.Generator) -> Floats:
    """Steps of full size in these directions, [rounds, clients], from a random start."""
    start = rng.random(directions.shape[1]) * (drift.high - drift.low)
    return _reflected(drift, start + drift.speed * np.cumsum(directions, axis=0))


def _reflected(drift: DriftLimits, positions: Floats) -> Floats:
    """The real line folded into the limits, so that no step becomes longer."""
    width = drift.high - drift.low
    rates: Floats = drift.low + width - np.abs(np.mod(positions, 2.0 * np.maximum(width, 1e-12)) - width)
    return rates
