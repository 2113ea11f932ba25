"""The window with the most expected tokens a second."""

from goodspeed.windows.window_policy import Window, WindowView

LEAST = 1
"""A drafter that proposed nothing would never again measure what it decides by."""


class AnalyticWindow:
    """The k that maximises expected_tokens / round_s, by trying every k from 1 to what is granted.

    Leviathan et al. 2023 (arXiv 2211.17192): equation 1 is the numerator, theorem 3.8 the choice, with the time of a
    round generalised by the network and the queue: a round costs rtt + queue + verify + k * drafting. Verification is
    taken as one cost whatever k: a drafter cannot see what a token adds to a step.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def next_window(self, view: WindowView) -> Window:
        longest = min(self._max_tokens, view.grant)
        lengths = range(min(LEAST, longest), longest + 1)
        return Window(max(lengths, key=lambda length: tokens_per_s(view, length)))


def tokens_per_s(view: WindowView, length: int) -> float:
    """Expected committed tokens of a round of this window over its time; infinite where no time is known yet."""
    tokens = sum(view.acceptance_rate**j for j in range(length + 1))
    round_s = view.rtt_s + view.queue_s + view.verify_s + length * view.drafting_s_per_token
    return tokens / round_s if round_s else float("inf")
