"""The fixed window: always as many tokens as were configured."""

from goodspeed.windows.window_policy import Window, WindowView


class FixedWindow:
    """Proposes max_tokens, or what is granted if that is less; confidence does not matter."""

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def next_window(self, view: WindowView) -> Window:
        return Window(min(self._max_tokens, view.grant))
