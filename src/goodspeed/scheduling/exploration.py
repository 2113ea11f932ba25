"""Exploration: a client at grant 0 brings no evidence of its acceptance, so no scheduler could ever learn better."""

from collections.abc import Sequence

EXPLORE_AFTER = 8


def exploration_grants(starved_rounds: Sequence[int], budget: int) -> list[int]:
    """One token for every client that was granted none for EXPLORE_AFTER rounds, the longest starved first.

    Together at most `budget`; set them aside before a scheduler shares the rest, and add them to its grants.
    """
    grants = [0] * len(starved_rounds)
    starved = [i for i, rounds in enumerate(starved_rounds) if rounds >= EXPLORE_AFTER]
    for i in sorted(starved, key=lambda i: -starved_rounds[i])[:budget]:
        grants[i] = 1
    return grants
