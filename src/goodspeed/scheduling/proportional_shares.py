"""Shares in proportion, within floors and caps, in whole tokens: what the simple splits have in common."""

import math
from collections.abc import Sequence

from msgspec import Struct

from goodspeed.scheduling.marginals import floors_within
from goodspeed.scheduling.scheduler import ClientView

ROUNDING = 1e-9


class ProportionalShare(Struct, frozen=True, gc=False):
    """One client's part: `rate` times what a client of rate 1 has, from floor to cap."""

    rate: float  # one of 0 is left at its floor
    floor: int
    cap: int

    def at(self, level: float) -> float:
        """In fractions of tokens, where a client of rate 1 has `level`."""
        return min(max(level * self.rate, self.floor), self.cap)


def shares_of(clients: Sequence[ClientView], rates: Sequence[float], num_tokens: int) -> list[ProportionalShare]:
    """By the clients' own floors, as far as `num_tokens` reach, and caps."""
    floors = floors_within(clients, num_tokens)
    return [
        ProportionalShare(rate, floor, client.max_grant)
        for client, rate, floor in zip(clients, rates, floors, strict=True)
    ]


def fill(shares: Sequence[ProportionalShare], num_tokens: int, first: int = 0) -> list[int]:
    """Whole grants of together `num_tokens`, or what the caps allow; the floors must be within `num_tokens`.

    The largest remainders are rounded up; of equal ones those from client `first` on, in a circle.
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
    """In fractions: the level that fills the budget, and those whom it would take beyond a limit settled there.

    Where the limits give more than there is, those at their floors are settled and the others have to go lower, so
    they stay at their floors; likewise for the caps. So a round settles at least one, and none wrongly.
    """
    parts = [float(share.floor) for share in shares]
    open_ones = [i for i, share in enumerate(shares) if share.rate > ROUNDING and share.cap > share.floor]
    num_left = num_tokens - sum(parts, 0.0) + sum((parts[i] for i in open_ones), 0.0)
    while open_ones:
        level = num_left / sum(shares[i].rate for i in open_ones)
        for i in open_ones:
            parts[i] = shares[i].at(level)
        excess = sum((parts[i] for i in open_ones), 0.0) - num_left
        if abs(excess) <= ROUNDING:
            break
        settled = {i for i in open_ones if parts[i] == (shares[i].floor if excess > 0.0 else shares[i].cap)}
        num_left -= sum((parts[i] for i in settled), 0.0)
        open_ones = [i for i in open_ones if i not in settled]
    return parts
