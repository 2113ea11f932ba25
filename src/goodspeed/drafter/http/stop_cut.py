"""Stop strings in a text that comes in pieces."""

from collections.abc import Sequence


class StopCut:
    """Cuts a text before its first stop string. It holds text back while that may be the start of a stop string."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.is_cut = False
        self._stops = stops
        self._held = ""

    def push(self, text: str) -> str:
        """The text that is certain to be before every stop string."""
        if not self._stops:
            return text
        text = self._held + text
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.is_cut = True
            self._held = ""
            return text[: min(found)]
        num_held = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - num_held :]
        return text[: len(text) - num_held]

    def flush(self) -> str:
        """The text that was held back, at the end: it is not a stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest proper prefix of `stop` that the text ends with."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
