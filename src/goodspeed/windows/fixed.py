"""The fixed window: the configured number of tokens."""

from goodspeed.windows.window_policy import Window, WindowView


class FixedWindow:
    """max_tokens, or the grant if it is smaller, at any confidence."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def next_window(self, view: WindowView) -> Window:
        return Window(min(self._max_tokens, view.grant))
