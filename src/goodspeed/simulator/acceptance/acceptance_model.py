"""The interface of acceptance models: which draft tokens the target would accept."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class AcceptanceTrace(Protocol):
    """Which draft tokens of one answer are right. It is fixed before any decision, so every policy meets the same one.

    A token drafted after a correct prefix is a function of the text so far. Whether it is right therefore depends on
    its position in the answer and not on the start of its round: a trace serves any window.
    """

    def is_right(self, position: int, depth: int) -> bool:
        """Whether the target would accept the draft token at this position of the answer, `depth` into its draft.

        Both count from 0. Called only where all draft tokens before it are right.
        """

    def confidence(self, position: int, depth: int) -> float:
        """The probability of being right that the drafter reports for this token."""


class AcceptanceModel(Protocol):
    """A generator of acceptance traces."""

    def new_trace(self, client: int, request: int, rng: np.random.Generator) -> AcceptanceTrace:
        """The trace of a client's request-th answer (both from 0). All its randomness comes from `rng`."""


@dataclass(frozen=True, slots=True)
class AnswerTraces:
    """The traces of one answer."""

    drafter: AcceptanceTrace
    co_located: AcceptanceTrace | None = None  # None: the verifier makes no drafts for it
