"""Ways in which acceptance rates move: each within limits of place and speed, and each hard in its own way."""

from collections.abc import Callable

import numpy as np

from goodspeed.fluid.bound import Drift
from goodspeed.fluid.problem import Floats

DriftKind = Callable[[Drift, int, np.random.Generator], Floats]
"""(limits, rounds, rng) -> rates, [rounds, clients]."""

MEAN_PHASE = 150  # rounds between the turns of a client that turns at random


def together(drift: Drift, num_rounds: int, rng: np.random.Generator) -> Floats:
    """All rise together and fall together, at full speed: the optimum itself moves as fast as it can."""
    phase = np.full(len(drift.low), rng.random())
    return _zigzag(drift, num_rounds, phase)


def opposed(drift: Drift, num_rounds: int, rng: np.random.Generator) -> Floats:
    """A random half rises while the other falls: the budget must move."""
    phase = rng.random() + np.where(rng.permutation(len(drift.low)) % 2, 0.5, 0.0)
    return _zigzag(drift, num_rounds, phase)


def turning(drift: Drift, num_rounds: int, rng: np.random.Generator) -> Floats:
    """Each at full speed, turning at random moments of its own."""
    turns = rng.random((num_rounds, len(drift.low))) < 1.0 / MEAN_PHASE
    return _folded(drift, np.where(np.cumsum(turns, axis=0) % 2, 1.0, -1.0), rng)


def walking(drift: Drift, num_rounds: int, rng: np.random.Generator) -> Floats:
    """Independent steps up or down, of full size."""
    return _folded(drift, rng.choice((-1.0, 1.0), (num_rounds, len(drift.low))), rng)


KINDS: tuple[DriftKind, ...] = (together, opposed, turning, walking)


def _zigzag(drift: Drift, num_rounds: int, phase: Floats) -> Floats:
    """Up and down between the limits at full speed; phase in periods."""
    return _reflected(drift, 2.0 * (drift.high - drift.low) * phase + drift.speed * np.arange(num_rounds)[:, None])


def _folded(drift: Drift, directions: Floats, rng: np.random.Generator) -> Floats:
    """Steps of full size in these directions, [rounds, clients], from a random place."""
    start = rng.random(directions.shape[1]) * (drift.high - drift.low)
    return _reflected(drift, start + drift.speed * np.cumsum(directions, axis=0))


def _reflected(drift: Drift, places: Floats) -> Floats:
    """The real line folded into the limits, so that no step becomes longer."""
    width = drift.high - drift.low
    rates: Floats = drift.low + width - np.abs(np.mod(places, 2.0 * np.maximum(width, 1e-12)) - width)
    return rates
