"""The fixed split: what a server does that knows nothing of its clients (the GoodSpeed paper's baseline Fixed-S)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.base import Budget, ClientView


class FixedScheduler:
    """Budget / clients for each. The remainder goes round: each call gives it to the next clients in turn."""

    def __init__(self) -> None:
        self._turn = 0

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        if not clients:
            return []
        share, remainder = divmod(budget.tokens, len(clients))
        first = self._turn % len(clients)
        self._turn = first + remainder
        return [
            min(client.max_grant, share + ((i - first) % len(clients) < remainder)) for i, client in enumerate(clients)
        ]
