"""Tiers by accepted length: the heuristic by which serving engines adapt the length of their drafts."""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from goodspeed.scheduling.proportional_shares import fill, shares_of
from goodspeed.scheduling.scheduler import Budget, ClientView

TIERS = (1, 3, 7, 15, 31, 63)
"""The first three are SGLang's default candidates; the others are for clients with several streams."""
SLACK = 0.5


class TiersScheduler:
    """The lowest tier that a client's accepted length, a moving average, does not fill.

    After SGLang's adaptive speculative decoding (moving average of the accepted draft length, tiers 1, 3, 7), for every
    client separately: a step up where nearly every draft token of the tier is accepted, a step down where the tier
    below would have held them. Serving engines have no budget: where the tiers exceed it, the longest are cut to one
    length.
    """

    def grants(self, clients: Sequence[ClientView], budget: Budget, rng: np.random.Generator) -> list[int]:
        del rng
        shares = [
            replace(share, cap=max(share.floor, min(share.cap, tier(client.goodput - 1.0))))
            for share, client in zip(shares_of(clients, [1.0] * len(clients), budget.tokens), clients, strict=True)
        ]
        return fill(shares, budget.tokens)


def tier(accepted_length: float) -> int:
    """The lowest tier that holds this mean accepted length with some slack, otherwise the highest."""
    return next((length for length in TIERS if accepted_length <= length - SLACK), TIERS[-1])
