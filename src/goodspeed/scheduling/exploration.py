"""Exploration: a client at grant 0 brings no evidence of its acceptance, so no scheduler could ever learn better."""

from collections.abc import Sequence

EXPLORE_AFTER = 8
"""Rounds at grant 0, at least."""
MAX_TIME_SHARE = 1 / 20
"""Of a client's time may go into rounds that explore, beyond what it has from them."""


def exploration_interval(round_s: float, target_only_token_s: float | None) -> float:
    """Rounds at grant 0 after which a client explores.

    A round with a grant takes `round_s`, one at grant 0 takes `target_only_token_s` (None: not known).
    """
    lost_rounds = round_s / target_only_token_s - 1.0 if target_only_token_s else 0.0
    return max(EXPLORE_AFTER, lost_rounds / MAX_TIME_SHARE)


def clients_to_explore(starved: Sequence[float], budget: int) -> list[bool]:
    """Who is to be granted a token at least: at most `budget` clients, the longest starved first.

    `starved`: rounds at grant 0, in units of the client's exploration_interval.
    """
    due = sorted((i for i, rounds in enumerate(starved) if rounds >= 1.0), key=lambda i: -starved[i])[:budget]
    return [i in due for i in range(len(starved))]
