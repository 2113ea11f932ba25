"""The random split (the GoodSpeed paper's baseline Random-S)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import Budget, ClientView


class RandomScheduler:
    """Beyond the floors, uniform over all ways to grant at most the budget; what exceeds a client's cap is lost."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        if not clients:
            return []
        floors = floors_within(clients, budget.tokens)
        num_left = budget.tokens - sum(floors)
        # Stars and bars: n bars among num_left + n places divide num_left into n grants and a rest.
        bars = np.sort(rng.choice(num_left + len(clients), size=len(clients), replace=False))
        extras = np.diff(bars, prepend=-1) - 1
        return [
            min(client.max_grant, floor + int(extra))
            for client, floor, extra in zip(clients, floors, extras, strict=True)
        ]
