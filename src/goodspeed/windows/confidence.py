"""The confidence window: a draft ends where its survival becomes too low."""

from typing import Final

from goodspeed.windows.analytic import tokens_per_s
from goodspeed.windows.window_policy import Window, WindowView

MAX_COST: Final = 0.5
"""Highest bound, however slow drafting is: the round takes place anyway."""


class ConfidenceWindow:
    """Up to max_tokens, ended before the first token whose survival (cumulative acceptance) is below a bound.

    The bound is min_survival, or what the time to draft a token is worth in tokens at the best rate that the stream can
    have: a far stream with fast drafts proposes unlikely tokens, a near one with slow drafts does not. Tokens that are
    not proposed save drafting time, bytes and space in the verifier's batch.
    """

    def __init__(self, max_tokens: int, min_survival: float) -> None:
        self._max_tokens = max_tokens
        self._min_survival = min_survival

    def next_window(self, view: WindowView) -> Window:
        longest = min(self._max_tokens, view.grant)
        return Window(longest, max(self._min_survival, min(MAX_COST, _token_cost(view, longest))))


def _token_cost(view: WindowView, longest: int) -> float:
    """Tokens that the stream commits elsewhere in the time that a token is drafted; 0 while no time is known."""
    if view.rtt_s + view.queue_s + view.verify_s <= 0.0:
        return 0.0
    return view.drafting_s_per_token * max(tokens_per_s(view, length) for length in range(longest + 1))
