"""A draft: the tokens that a draft engine proposes, and the distributions that they were sampled from."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

StreamKey = int
"""Identifies a stream within one engine; never reused during the lifetime of the engine."""


@dataclass(frozen=True, slots=True)
class SparseProbs:
    """A truncated and quantised draft distribution, exactly the one that the drafter sampled from.

    The probability of token_ids[i] is weights[i] / sum(weights). Ids are distinct and ascending; weights are positive.
    """

    token_ids: npt.NDArray[np.uint32]  # [k]
    weights: npt.NDArray[np.uint16]  # [k]


class Draft(Struct, frozen=True, gc=False):
    """What a draft engine proposes for one stream."""

    tokens: tuple[int, ...]
    confidences: tuple[float, ...]
    """Calibrated Pr(the token is accepted | all tokens before it are), one per token."""
    draft_probs: tuple[SparseProbs, ...] = ()
    """One per token under the rejection rule; empty if every token is a function of the prefix (one-hot)."""

    def part(self, start: int, stop: int | None = None) -> "Draft":
        """The tokens from `start` to before `stop`; None: to the end."""
        return Draft(self.tokens[start:stop], self.confidences[start:stop], self.draft_probs[start:stop])


NO_DRAFT: Final = Draft((), ())


class DraftRequest(Struct, frozen=True, gc=False):
    """A request for up to `max_tokens` draft tokens after the stream's committed prefix and `after`.

    The engine ends the draft before the product of confidences falls below `min_survival`. Under the rejection rule
    this decision may depend on the prefix and the draft distribution, but not on the sampled token.
    """

    stream: StreamKey
    max_tokens: int
    min_survival: float = 0.0
    after: tuple[int, ...] = ()
    """Draft as if these tokens were committed. The product of confidences begins after them."""
