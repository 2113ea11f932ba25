"""One answer of the target with what it thought at every position: what drafts are trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Origin:
    """Where an answer is from. `key` is its name in the data set: one for each thing that is asked."""

    key: str
    source: str
    """File or client that the prompt is from; "written" if the target wrote it."""
    category: str
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """What a draft proposed and the target did not say."""

    place: int  # in the answer
    token: int


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, the target's answer (its end token included, where it came to an end), and the target's top k."""

    origin: Origin
    prompt: npt.NDArray[np.int32]  # [p], p >= 1
    answer: npt.NDArray[np.int32]  # [n], n >= 1
    top_tokens: npt.NDArray[np.int32]  # [n, k], likeliest first
    top_logprobs: npt.NDArray[np.float16]  # [n, k], natural log at temperature 1, before top-k and top-p
    weights: npt.NDArray[np.float32] | None = None  # [n], what each position counts in the loss; None: 1
    rejected: tuple[Rejected, ...] = ()
