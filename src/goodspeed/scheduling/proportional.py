"""Grants in proportion to acceptance: the simplest policy that adapts."""

from collections.abc import Sequence

import numpy as np

from goodspeed.scheduling.proportional_shares import fill, shares_of
from goodspeed.scheduling.scheduler import Budget, ClientView


class ProportionalScheduler:
    """Grants in proportion to weight times acceptance rate, within floors and caps; largest remainders rounded up."""

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        rates = [client.weight * client.acceptance_rate for client in clients]
        return fill(shares_of(clients, rates, budget.tokens), budget.tokens)
