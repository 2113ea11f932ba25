"""The fixed split: what a server does that knows nothing of its clients (the GoodSpeed paper's baseline Fixed-S)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.base import ClientView


class FixedScheduler:
    """Budget / clients for each. The remainder goes round: each call gives it to the next clients in turn."""

    def __init__(self) -> None:
        self._turn = 0

    def grants(self, clients: Sequence[ClientView], budget: int, rng: np.random.Generator) -> list[int]:
        del rng
        if not clients:
            return []
        share, remainder = divmod(budget, len(clients))
        first = self._turn % len(clients)
        self._turn = first + remainder
        return [
            min(client.max_grant, share + ((i - first) % len(clients) < remainder)) for i, client in enumerate(clients)
        ]
