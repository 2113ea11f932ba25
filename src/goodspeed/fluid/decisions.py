"""The gradient scheduler's decision (eq. 5) for many runs side by side."""

import numpy as np

from goodspeed.fluid.problem import Floats, Ints

LEAST_GOODPUT = 1e-9
"""Where U' is taken for a goodput of 0: those at the boundary come first, and are equals among themselves."""


def log_slopes(goodputs: Floats) -> Floats:
    """U' = 1 / x, elementwise."""
    slopes: Floats = 1.0 / np.maximum(goodputs, LEAST_GOODPUT)
    return slopes


def gradient_grants(
    slopes: Floats,  # [runs, clients], U'(X)
    rates: Floats,  # [runs, clients] or [clients], the acceptance rates that the scheduler believes
    budget: int,
) -> Ints:
    """argmax sum_i slope_i mu(a_i, S_i), sum S_i <= budget: [runs, clients]; GradientScheduler's decision in each run.

    The budget's most valuable tokens, wherever they are: a client's j-th is worth slope a^j, which falls with j, so
    its best ones are its first ones. Tokens worth nothing are not granted (a slope may be negative).
    """
    num_runs, num_clients = slopes.shape
    worth = slopes[..., None] * np.broadcast_to(rates, slopes.shape)[..., None] ** np.arange(1, budget + 1)
    flat = worth.reshape(num_runs, num_clients * budget)
    best = np.argpartition(-flat, budget - 1, axis=1)[:, :budget]
    is_granted = np.take_along_axis(flat, best, axis=1) > 0.0
    places = best // budget + num_clients * np.arange(num_runs)[:, None]
    counts = np.bincount(places[is_granted], minlength=num_runs * num_clients)
    return counts.reshape(num_runs, num_clients)
