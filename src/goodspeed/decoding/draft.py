"""A draft: tokens that a draft engine proposes, with the distribution that they were drawn from."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from msgspec import Struct

StreamKey = int
"""Names one stream within one engine; never reused while the engine lives."""


@dataclass(frozen=True, slots=True)
class SparseProbs:
    """A truncated, quantised draft distribution: exactly the one that the drafter sampled from.

    Probability of token_ids[i] is weights[i] / sum(weights). Ids are distinct and ascending; weights are positive.
    """

    token_ids: npt.NDArray[np.uint32]  # [k]
    weights: npt.NDArray[np.uint16]  # [k]


class Draft(Struct, frozen=True, gc=False):
    """What a draft engine proposes for one stream."""

    tokens: tuple[int, ...]
    confidences: tuple[float, ...]
    """Calibrated Pr(token is accepted | all before it are), one per token."""
    draft_probs: tuple[SparseProbs, ...] = ()
    """One per token under the rejection rule, or empty: every token a function of the prefix (one-hot)."""


class DraftRequest(Struct, frozen=True, gc=False):
    """Draft up to `max_tokens` on top of the stream's committed prefix.

    The engine stops early once the product of confidences would fall below `min_survival`: under the rejection
    rule that test may use the prefix and the draft distribution only, never which token was drawn.
    """

    stream: StreamKey
    max_tokens: int
    min_survival: float = 0.0
