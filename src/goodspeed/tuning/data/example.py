"""One answer of the target with its top-k log-probabilities at every position: the training data of drafts."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Origin:
    """The source of an answer. `key` identifies it in the data set: one key for each request."""

    key: str
    source: str
    """File or client of the prompt; "written" if the target generated it."""
    category: str
    temperature: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rejected:
    """A draft token that the target rejected."""

    position: int  # in the answer
    token: int


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt, the target's answer with its end token if it ended, and the target's top k."""

    origin: Origin
    prompt: npt.NDArray[np.int32]  # [p], p >= 1
    answer: npt.NDArray[np.int32]  # [n], n >= 1
    top_tokens: npt.NDArray[np.int32]  # [n, k], likeliest first
    top_logprobs: npt.NDArray[np.float16]  # [n, k], natural log at temperature 1, before top-k and top-p
    weights: npt.NDArray[np.float32] | None = None  # [n], weight of each position in the loss; None: 1
    rejected: tuple[Rejected, ...] = ()
