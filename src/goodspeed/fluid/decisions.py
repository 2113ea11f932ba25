"""The gradient scheduler's decision (eq. 5) for many runs side by side."""

import numpy as np

from goodspeed.fluid.problem import Floats, Ints

MIN_GOODPUT = 1e-9
"""Stands in for a goodput of 0, so that U' is finite: clients at the boundary come first, with equal slopes."""


def log_slopes(goodputs: Floats) -> Floats:
    """U' = 1 / x, elementwise."""
    slopes: Floats = 1.0 / np.maximum(goodputs, MIN_GOODPUT)
    return slopes


def gradient_grants(
    slopes: Floats,  # [runs, clients], U'(X)
    rates: Floats,  # [runs, clients] or [clients], the acceptance rates that the scheduler assumes
    budget: int,
) -> Ints:
    """argmax sum_i slope_i mu(a_i, S_i), sum S_i <= budget, as GradientScheduler decides: [runs, clients].

    The budget goes to the most valuable tokens. The value of a client's j-th token is slope a^j, which decreases with
    j, so that its first tokens are its best. Tokens without a positive value are not granted (a slope may be
    negative).
    """
    num_runs, num_clients = slopes.shape
    value = slopes[..., None] * np.broadcast_to(rates, slopes.shape)[..., None] ** np.arange(1, budget + 1)
    flat = value.reshape(num_runs, num_clients * budget)
    best = np.argpartition(-flat, budget - 1, axis=1)[:, :budget]
    is_granted = np.take_along_axis(flat, best, axis=1) > 0.0
    indices = best // budget + num_clients * np.arange(num_runs)[:, None]
    counts = np.bincount(indices[is_granted], minlength=num_runs * num_clients)
    return counts.reshape(num_runs, num_clients)
