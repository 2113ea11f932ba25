"""The value of one more draft token of a client: w U'(X) s_j, the j-th term of the objective that grants maximise.

A round with S draft tokens is expected to commit mu = 1 + s_1 + ... + s_S, where s_j = Pr(the first j are accepted).
Since s_j never rises with j, neither does a token's value: the objective is concave. All values are logarithms, so that
neither long proposals nor a steep utility (max-min) leave the range of a float.
"""

import math
from collections.abc import Sequence

from goodspeed.scheduling.scheduler import ClientView

NOTHING = -math.inf
"""The logarithm of a value of zero."""


def log_survival(client: ClientView, num_tokens: int) -> float:
    """log s_j for j = num_tokens >= 1. Past the end of the client's curve, and without one, survival is geometric."""
    curve = client.survival
    if num_tokens <= len(curve):
        chance = curve[num_tokens - 1]
        return math.log(chance) if chance > 0.0 else NOTHING
    known = _log(curve[-1]) if curve else 0.0
    return known + (num_tokens - len(curve)) * _log(client.acceptance_rate)


def log_weight(client: ClientView, fairness: float) -> float:
    """log of w U'(X) with alpha-fair U: U'(x) = x^-fairness (Mo and Walrand, 2000)."""
    return _log(client.weight) - fairness * math.log(client.goodput)


def floors_within(clients: Sequence[ClientView], num_tokens: int) -> list[int]:
    """Every client's min_grant (at most its max_grant), the earlier ones first when they exceed `num_tokens`."""
    floors = []
    for client in clients:
        floors.append(min(client.min_grant, client.max_grant, num_tokens))
        num_tokens -= floors[-1]
    return floors


def _log(value: float) -> float:
    return math.log(value) if value > 0.0 else NOTHING
