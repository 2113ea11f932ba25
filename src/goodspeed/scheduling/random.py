"""The random split (the GoodSpeed paper's baseline Random-S)."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.base import Budget, ClientView


class RandomScheduler:
    """Uniform over all ways to give the clients at most the budget together; what exceeds a client's cap is lost."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        if not clients:
            return []
        # Stars and bars: n bars among budget + n places cut the budget into n grants and a rest.
        bars = np.sort(rng.choice(budget.tokens + len(clients), size=len(clients), replace=False))
        grants = np.diff(bars, prepend=-1) - 1
        return [min(client.max_grant, int(grant)) for client, grant in zip(clients, grants, strict=True)]
