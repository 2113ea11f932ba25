"""The window by upper confidence bounds: a bandit whose arms are lengths, and that knows the round's delay."""

import math
from typing import Final

from goodspeed.config import config_dataclass, option
from goodspeed.windows.accepted_prefixes import PositionTrials
from goodspeed.windows.analytic import round_s
from goodspeed.windows.window_policy import Window, WindowView

MIN_ROUNDS: Final = 2.0
"""Of which the logarithm is positive."""


@config_dataclass
class UcbConfig:
    """The exploration of the ucb policy."""

    exploration: float = option(
        0.25,
        "factor of the logarithm of past rounds in the width of the confidence bounds; 0: the best known length",
        ge=0.0,
    )


class UcbWindow:
    """The length from 1 to the grant with the highest upper bound of expected tokens per second of the round.

    After UCB-SpecStop (arXiv 2606.20591): the reward is tokens over the time of the round, with the delay as it is
    measured now (round trip, queue, verification, drafting), so that a change of the delay need not be learned. Only
    acceptance is, from the prefixes that were accepted: a round shows what every shorter window would have brought. The
    paper's abstract names this and its regret, but not the form of the bound. Here each position's acceptance has
    Wilson's upper bound with z^2 = exploration * log(rounds), and a length that was never tried counts as accepted.
    """

    def __init__(self, max_tokens: int, config: UcbConfig) -> None:
        self._max_tokens = max_tokens
        self._exploration = config.exploration

    def next_window(self, view: WindowView) -> Window:
        longest = min(self._max_tokens, view.grant)
        if longest < 1 or view.prefixes is None:
            return Window(longest)
        z2 = self._exploration * math.log(max(MIN_ROUNDS, view.prefixes.num_rounds))
        best, best_rate, tokens, survival = 1, -math.inf, 1.0, 1.0
        for length, trials in enumerate(view.prefixes.trials(longest), start=1):
            survival *= upper_bound(trials, z2)
            tokens += survival
            seconds = round_s(view, length)
            rate = tokens / seconds if seconds > 0.0 else tokens
            if rate > best_rate:
                best, best_rate = length, rate
        return Window(best)


def upper_bound(trials: PositionTrials, z2: float) -> float:
    """The upper end of Wilson's interval for a share (Wilson 1927); 1 without trials."""
    num = trials.num_verified
    if num <= 0.0:
        return 1.0
    share = trials.num_accepted / num
    spread = math.sqrt(z2 * (share * (1.0 - share) / num + z2 / (4.0 * num * num)))
    return (share + z2 / (2.0 * num) + spread) / (1.0 + z2 / num)
