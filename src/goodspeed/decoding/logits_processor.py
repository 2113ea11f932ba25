"""The interface of what changes a stream's target logits before a token is chosen."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

EXCLUDED = np.float32(-np.inf)


class LogitsProcessor(Protocol):
    """Changes the target logits of one stream: a function of the request and of the committed text only."""

    @property
    def failure(self) -> str:
        """Why the stream cannot go on, since the last `apply` or `commit`; empty: it can."""

    def apply(
        self,
        logits: npt.NDArray[np.float32],  # [k + 1, vocab]
        draft_tokens: Sequence[int],  # k
    ) -> None:
        """Change `logits` in place. Row i is for the position after the committed text and the first i draft tokens."""

    def commit(self, tokens: Sequence[int]) -> None:
        """Extend the committed text."""


def processed(
    logits: npt.NDArray[np.float32],  # [k + 1, vocab]
    draft_tokens: Sequence[int],  # k
    processors: Sequence[LogitsProcessor],
) -> npt.NDArray[np.float32]:
    """[k + 1, vocab]: a copy to which the processors are applied in order; without processors `logits` itself."""
    if not processors:
        return logits
    logits = logits.copy()
    for processor in processors:
        processor.apply(logits, draft_tokens)
    return logits


def exclude(
    row: npt.NDArray[np.float32],  # [vocab]
    tokens: npt.NDArray[np.int64] | npt.NDArray[np.bool_],  # indices, or [vocab]
) -> None:
    """Exclude tokens in place, except where no token would be left: there the exclusion has no effect."""
    before = row[tokens]
    row[tokens] = EXCLUDED
    if row.max() == EXCLUDED:
        row[tokens] = before
