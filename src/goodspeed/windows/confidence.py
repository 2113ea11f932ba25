"""The confidence window: a draft ends where its survival becomes too low."""

from typing import Final

from goodspeed.windows.analytic import run_ahead_view, tokens_per_s
from goodspeed.windows.run_ahead import pays
from goodspeed.windows.window_policy import Window, WindowView

MAX_COST: Final = 0.5
"""Highest bound, however slow drafting is: the round takes place anyway."""


class ConfidenceWindow:
    """Up to max_tokens, ended before the first token whose survival (cumulative acceptance) is below a bound.

    The bound is min_survival, or what the time to draft a token is worth in tokens at the best rate that the stream can
    have: a far stream with fast drafts proposes unlikely tokens, a near one with slow drafts does not. Tokens that are
    not proposed save drafting time, bytes and space in the verifier's batch.

    Where run-ahead pays, a proposal has no more tokens than are drafted while one is under way, or than are best for
    the mean acceptance: the next one is then complete when the verdict comes.
    """

    def __init__(self, max_tokens: int, min_survival: float) -> None:
        self._max_tokens = max_tokens
        self._min_survival = min_survival

    def next_window(self, view: WindowView) -> Window:
        longest = min(self._max_tokens, view.grant)
        if view.rtt_s + view.queue_s + view.verify_s <= 0.0:  # no time is known
            return Window(longest, self._min_survival)
        best = max(range(longest + 1), key=lambda length: tokens_per_s(view, length))
        token_cost = view.drafting_s_per_token * tokens_per_s(view, best)  # tokens that it commits elsewhere meanwhile
        if view.runs_ahead and pays(run_ahead_view(view, best)):
            in_time = int((view.rtt_s + view.queue_s + view.verify_s) / view.drafting_s_per_token) - 1
            longest = min(longest, max(best, in_time))
        return Window(longest, max(self._min_survival, min(MAX_COST, token_cost)))
