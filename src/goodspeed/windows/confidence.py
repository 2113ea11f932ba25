"""The confidence window: draft on while it is likely enough that the target follows."""

from goodspeed.windows.window_policy import Window, WindowView


class ConfidenceWindow:
    """Up to max_tokens, and no token whose chance to survive (all before it, and it, are accepted) is below a bound.

    What is not proposed leaves room in the verifier's batch, and costs neither drafting nor bytes.
    """

    def __init__(self, max_tokens: int, min_survival: float) -> None:
        self._max_tokens = max_tokens
        self._min_survival = min_survival

    def next_window(self, view: WindowView) -> Window:
        return Window(min(self._max_tokens, view.grant), self._min_survival)
