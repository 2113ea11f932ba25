"""The fixed split: a server that knows nothing of its clients (the GoodSpeed paper's baseline Fixed-S)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.proportional_shares import fill, shares_of
from goodspeed.scheduling.scheduler import Budget, ClientView


class FixedScheduler:
    """Budget / clients for each, within floors and caps. The remainder goes to different clients with every call."""

    def __init__(self) -> None:
        self._turn = 0

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        if not clients:
            return []
        first = self._turn % len(clients)
        self._turn = first + budget.tokens % len(clients)
        return fill(shares_of(clients, [1.0] * len(clients), budget.tokens), budget.tokens, first)
