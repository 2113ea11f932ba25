"""Proportional shares of a budget in whole tokens, within floors and caps; the simple policies are built on them."""

import math
from collections.abc import Sequence

from msgspec import Struct

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import ClientView

ROUNDING = 1e-9


class ProportionalShare(Struct, frozen=True, gc=False):
    """One client's share: `rate` times that of a client with rate 1, from floor to cap."""

    rate: float  # a share with rate 0 stays at its floor
    floor: int
    cap: int

    def at(self, level: float) -> float:
        """The share in fractions of tokens if a client with rate 1 has `level`."""
        return min(max(level * self.rate, self.floor), self.cap)


def shares_of(clients: Sequence[ClientView], rates: Sequence[float], num_tokens: int) -> list[ProportionalShare]:
    """The clients' shares with their caps, and with their floors as far as `num_tokens` allows."""
    floors = floors_within(clients, num_tokens)
    return [
        ProportionalShare(rate, floor, client.max_grant)
        for client, rate, floor in zip(clients, rates, floors, strict=True)
    ]


def fill(shares: Sequence[ProportionalShare], num_tokens: int, first: int = 0) -> list[int]:
    """Whole grants that sum to `num_tokens`, or to what the caps allow; the floors must be within `num_tokens`.

    The largest remainders are rounded up. Equal remainders are rounded up from client `first` on, cyclically.
    """
    parts = _parts(shares, num_tokens)
    grants = [math.floor(part + ROUNDING) for part in parts]
    num_left = round(sum(parts)) - sum(grants)
    by_remainder = sorted(
        range(len(parts)), key=lambda i: (round((grants[i] - parts[i]) / ROUNDING), (i - first) % len(parts))
    )
    for i in by_remainder[:num_left]:
        grants[i] += 1
    return grants


def _parts(shares: Sequence[ProportionalShare], num_tokens: int) -> list[float]:
    """The shares in fractions of tokens: the level that fills the budget, within floors and caps (water-filling).

    Where the limits give more than the budget, the shares at their floors are final: the level can only sink. Where
    they give less, the shares at their caps are final. So every pass settles at least one share, and none wrongly.
    """
    parts = [float(share.floor) for share in shares]
    unsettled = [i for i, share in enumerate(shares) if share.rate > ROUNDING and share.cap > share.floor]
    num_left = num_tokens - sum(parts, 0.0) + sum((parts[i] for i in unsettled), 0.0)
    while unsettled:
        level = num_left / sum(shares[i].rate for i in unsettled)
        for i in unsettled:
            parts[i] = shares[i].at(level)
        excess = sum((parts[i] for i in unsettled), 0.0) - num_left
        if abs(excess) <= ROUNDING:
            break
        settled = {i for i in unsettled if parts[i] == (shares[i].floor if excess > 0.0 else shares[i].cap)}
        num_left -= sum((parts[i] for i in settled), 0.0)
        unsettled = [i for i in unsettled if i not in settled]
    return parts
