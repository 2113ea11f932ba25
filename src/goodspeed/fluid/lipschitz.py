"""The Lipschitz constant of the optimal utility in the acceptance rates, and the knapsack that computes it."""

import numpy as np

from goodspeed.fluid.problem import Floats

CELLS = 32


def utility_lipschitz(low: Floats, high: Floats, budget: int) -> float:
    """|U*(a) - U*(b)| <= this * max_i |a_i - b_i| for a and b within [low, high], each [clients].

    dU*/da_i = mu'/mu at the optimum (envelope theorem), where a client mixes two neighbouring grants; with the larger
    of them the grants sum to at most budget + clients. mu'(a, S) / mu(a, S) is bounded cell by cell, for it need not be
    monotone in a: mu' has its maximum at a cell's upper end, mu its minimum at the lower end.
    """
    max_total = budget + len(low)
    edges = np.linspace(low, high, CELLS + 1)[..., None]  # [cells + 1, clients, 1]
    grants = np.arange(max_total + 1)
    slopes = np.cumsum(grants * edges[1:] ** np.maximum(grants - 1, 0), axis=-1)
    means = np.cumsum(edges[:-1] ** grants, axis=-1)
    ratios = np.maximum.accumulate((slopes / means).max(axis=0), axis=-1)  # [clients, grants]
    return float(knapsack(ratios[:, None, :], max_total)[0])


def knapsack(
    values: Floats,  # [clients, cases, grants from 0 up], -inf where a grant is impossible
    budget: int,
) -> Floats:
    """max sum_i values[i, :, S_i] over integer grants with sum S_i = budget: [cases]; -inf if impossible."""
    best = np.full((values.shape[1], budget + 1), -np.inf)
    best[:, 0] = 0.0
    for client_values in values:
        extended = np.full_like(best, -np.inf)
        for grant in range(min(values.shape[2], budget + 1)):
            reached = best[:, : budget + 1 - grant] + client_values[:, grant, None]
            np.maximum(extended[:, grant:], reached, out=extended[:, grant:])
        best = extended
    answer: Floats = best[:, budget]
    return answer
