"""Pairwise Frank-Wolfe over a polytope given by a linear oracle (Lacoste-Julien and Jaggi, 2015).

Each step moves weight from the worst vertex of the current mixture to the best one of the oracle. The duality gap
max_v gradient . (v - x) bounds the distance of the objective from its maximum.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from goodspeed.fluid.decisions import gradient_grants, log_slopes
from goodspeed.fluid.problem import Floats, LongRunProblem, expected_tokens

MAX_STEPS = 2_000
LINE_HALVINGS = 50

Gradient = Callable[[Floats], Floats]
Oracle = Callable[[Floats], Floats]
"""Direction -> the vertex that is furthest in this direction."""


@dataclass(frozen=True, slots=True)
class Maximum:
    """The result of the search."""

    point: Floats
    gap: float
    num_steps: int


def best_goodputs(problem: LongRunProblem, tolerance: float) -> Maximum:
    """The solution x* of the long-run problem."""
    return frank_wolfe(log_slopes, scheduler_oracle(problem), np.ones(problem.num_clients), tolerance)


def hull_distance(problem: LongRunProblem, point: Floats, tolerance: float = 1e-9) -> float:
    """A lower bound on the Euclidean distance of a point, [clients], to the reachable goodputs; exact up to the gap."""
    nearest = frank_wolfe(lambda x: point - x, scheduler_oracle(problem), np.ones(problem.num_clients), tolerance)
    square = float(np.sum((point - nearest.point) ** 2)) - 2.0 * nearest.gap
    return math.sqrt(max(0.0, square))


def scheduler_oracle(problem: LongRunProblem) -> Oracle:
    """The gradient scheduler's decision: mu(S) with S = argmax direction . mu(S)."""

    def best(direction: Floats) -> Floats:
        grants = gradient_grants(direction[None], problem.rates, problem.budget)[0]
        return expected_tokens(problem.rates, grants)

    return best


def frank_wolfe(gradient: Gradient, oracle: Oracle, direction: Floats, tolerance: float) -> Maximum:
    """Maximise a concave function from the vertex in `direction` until the gap is at most `tolerance`."""
    vertices = [oracle(direction)]
    weights = [1.0]
    point, gap = vertices[0], np.inf
    for step in range(MAX_STEPS):
        slope = gradient(point)
        best = oracle(slope)
        gap = float(slope @ (best - point))
        if gap <= tolerance:
            return Maximum(point, gap, step)
        worst = int(np.argmin([slope @ vertex for vertex in vertices]))
        direction = best - vertices[worst]
        share = _line_search(gradient, point, direction, weights[worst])
        _move(vertices, weights, worst, best, share)
        point = np.array(weights) @ np.array(vertices)
    return Maximum(point, gap, MAX_STEPS)


def _line_search(gradient: Gradient, point: Floats, direction: Floats, longest: float) -> float:
    """The step in [0, longest] that maximises the objective, which is concave along the line."""
    if gradient(point + longest * direction) @ direction >= 0.0:
        return longest
    low, high = 0.0, longest
    for _ in range(LINE_HALVINGS):
        middle = 0.5 * (low + high)
        if gradient(point + middle * direction) @ direction > 0.0:
            low = middle
        else:
            high = middle
    return low


def _move(vertices: list[Floats], weights: list[float], worst: int, best: Floats, share: float) -> None:
    known = next((i for i, vertex in enumerate(vertices) if np.array_equal(vertex, best)), None)
    if known is None:
        vertices.append(best)
        weights.append(share)
    else:
        weights[known] += share
    weights[worst] -= share
    if weights[worst] <= 0.0:
        del vertices[worst], weights[worst]
