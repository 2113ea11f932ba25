"""Exploration: a client at grant 0 yields no evidence of its acceptance, so its estimate could never recover."""

from collections.abc import Sequence

EXPLORE_AFTER = 8
"""Minimum number of rounds at grant 0."""
MAX_TIME_SHARE = 1 / 20
"""Maximum share of a client's time that exploring rounds may cost it."""


def exploration_interval(round_s: float, local_round_s: float | None) -> float:
    """Rounds at grant 0 after which a client explores.

    A round with a grant takes `round_s`, one at grant 0 takes `local_round_s` (None: not known).
    """
    lost_rounds = round_s / local_round_s - 1.0 if local_round_s else 0.0
    return max(EXPLORE_AFTER, lost_rounds / MAX_TIME_SHARE)


def clients_to_explore(starved: Sequence[float], budget: int) -> list[bool]:
    """Which clients must be granted at least one token: at most `budget` of them, the longest starved first.

    `starved` counts each client's rounds at grant 0, in units of its exploration interval.
    """
    due = sorted((i for i, rounds in enumerate(starved) if rounds >= 1.0), key=lambda i: -starved[i])[:budget]
    return [i in due for i in range(len(starved))]
