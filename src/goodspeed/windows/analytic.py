"""The window that maximises the expected tokens per second."""

from goodspeed.windows.run_ahead import RunAheadView, saving_s
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
    seconds = round_s(view, length)
    return tokens / seconds if seconds else float("inf")


def round_s(view: WindowView, length: int) -> float:
    """Expected seconds of a round with this window; 0 while no time is known."""
    seconds = view.rtt_s + view.queue_s + view.verify_s + length * view.drafting_s_per_token
    if view.runs_ahead:
        seconds -= max(0.0, saving_s(run_ahead_view(view, length)))
    return seconds


def run_ahead_view(view: WindowView, length: int) -> RunAheadView:
    """A round with this window, in which drafting may go on past the proposal."""
    under_way_s = view.rtt_s + view.queue_s + view.verify_s
    return RunAheadView(view.acceptance_rate ** (length + 1), view.drafting_s_per_token, under_way_s, length)
