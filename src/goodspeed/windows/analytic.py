"""The window that maximises the expected tokens per second."""

from goodspeed.windows.window_policy import Window, WindowView

MIN_WINDOW = 1
"""A drafter that proposes nothing measures no acceptance, and would never propose again."""


class AnalyticWindow:
    """The k from 1 to the grant that maximises the expected tokens of a round divided by its time.

    Leviathan et al. 2023 (arXiv 2211.17192): equation 1 is the numerator, theorem 3.8 the choice. The time of a round
    includes the network and the queue: rtt + queue + verify + k * drafting. The verification time is taken as
    independent of k, because a drafter cannot measure how much a token adds to a step.
    """

    def __init__(self, max_tokens: int) -> None:
        self._max_tokens = max_tokens

    def next_window(self, view: WindowView) -> Window:
        longest = min(self._max_tokens, view.grant)
        lengths = range(min(MIN_WINDOW, longest), longest + 1)
        return Window(max(lengths, key=lambda length: tokens_per_s(view, length)))


def tokens_per_s(view: WindowView, length: int) -> float:
    """Expected committed tokens of a round with this window, per second; infinite while no time is known."""
    tokens = sum(view.acceptance_rate**j for j in range(length + 1))
    round_s = view.rtt_s + view.queue_s + view.verify_s + length * view.drafting_s_per_token
    return tokens / round_s if round_s else float("inf")
