"""Exploration: when a client whose rounds are local is asked for a shadow draft.

At a grant of 0 nothing would be learned of a client's proposals, so its estimate could never recover. A shadow draft
shows what a proposal would have been worth. It takes no time, since no round waits for it, but it takes the drafter's
energy. So a client is asked less and less often while nothing changes: down to once in MAX_INTERVAL rounds while a
better acceptance could bring it back, and without limit while none could.
"""

from typing import Final

SHADOW_TOKENS: Final = 8
"""Tokens of a shadow draft."""
MAX_INTERVAL: Final = 8
"""Rounds between two requests while a better acceptance could bring the client back."""
SURPRISE: Final = 0.2
"""A useful shadow draft that was expected with less chance is a sign of change: the next one is asked for at once."""
NEW_PROMPT_REQUESTS: Final = 16
"""Requests of a prompt, one as soon as the other is answered, while its acceptance may be good enough."""


class ShadowSchedule:
    """The local rounds of one client, and when its drafter was asked."""

    __slots__ = ("_interval", "_num_requests", "_num_rounds", "_num_useful")

    def __init__(self) -> None:
        self._interval = 1
        self._num_rounds = 0  # local rounds since the last request
        self._num_requests = 0  # of the prompt
        self._num_useful: int | None = None  # accepted tokens with which a shadow draft is a surprise; None: none is

    def on_round(self, grant: int) -> None:
        """A verdict with this grant is made; 0: the next round is local."""
        if grant:
            self._interval, self._num_rounds = 1, 0
        else:
            self._num_rounds += 1

    def on_stream(self) -> None:
        """The client starts a new prompt, whose acceptance may differ: it is asked in the next local round."""
        self._interval = min(self._interval, MAX_INTERVAL)
        self._num_rounds = self._interval
        self._num_requests = 0

    @property
    def is_due(self) -> bool:
        """It is time for a request, or to see whether it is: an interval beyond MAX_INTERVAL ends when that changes."""
        return self._num_rounds >= self._interval or self._num_rounds % MAX_INTERVAL == 0

    def ask(self, num_useful: int | None, chance: float) -> bool:
        """Whether the drafter shall be asked now, while it is due.

        `num_useful` is the number of accepted tokens from which a proposal is better than a local round (None: none
        is), and `chance` the estimated probability that so many are accepted.
        """
        if num_useful is None and self._num_rounds < self._interval:
            return False
        is_unlikely = chance < SURPRISE
        self._num_rounds = 0
        self._num_requests += 1
        self._interval *= 2
        if num_useful is not None:
            is_learning = not is_unlikely and self._num_requests <= NEW_PROMPT_REQUESTS
            self._interval = 1 if is_learning else min(self._interval, MAX_INTERVAL)
        self._num_useful = num_useful if is_unlikely else None
        return True

    def on_shadow_draft(self, num_accepted: int) -> None:
        """A shadow draft had this many tokens right."""
        if self._num_useful is not None and num_accepted >= self._num_useful:
            self._interval = 1
