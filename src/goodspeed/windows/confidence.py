"""The confidence window: a draft ends where its survival becomes too low."""

from goodspeed.windows.window_policy import Window, WindowView


class ConfidenceWindow:
    """Up to max_tokens, ended before the first token whose survival (cumulative acceptance) is below a bound.

    Tokens that are not proposed save drafting time, bytes and space in the verifier's batch.
    """

    def __init__(self, max_tokens: int, min_survival: float) -> None:
        self._max_tokens = max_tokens
        self._min_survival = min_survival

    def next_window(self, view: WindowView) -> Window:
        return Window(min(self._max_tokens, view.grant), self._min_survival)
