"""The seam between the simulator and whatever knows which draft tokens are right."""

from typing import Protocol

import numpy as np


class AcceptanceTrace(Protocol):
    """One answer's luck. It is fixed before anybody decides anything, so every policy meets the same one.

    A token that is drafted after a right beginning is a function of the text so far, so whether it is right depends on
    its place in the answer, and not on where its round began: a trace serves any window.
    """

    def is_right(self, position: int, depth: int) -> bool:
        """Would the target accept the draft token at this place of the answer, `depth` into its draft? Both from 0.

        Asked only where all draft tokens before it are right.
        """

    def confidence(self, position: int, depth: int) -> float:
        """The chance that the drafter reports for it."""


class AcceptanceModel(Protocol):
    """Where traces come from."""

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> AcceptanceTrace:
        """The luck of a client's request-th answer (both from 0); all its randomness comes from `rng`."""
