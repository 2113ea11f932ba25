"""Log-probabilities of tokens: natural, of the target at temperature 1, before truncation and any change of logits."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MAX_TOP_LOGPROBS = 20


@dataclass(frozen=True, slots=True)
class TopTokens:
    """The most likely tokens at one position, the likeliest first."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...]


def logprobs_of(
    logits: npt.NDArray[np.float32],  # [n, vocab]
    tokens: Sequence[int],  # n: one for each row
    num_top: int,
) -> tuple[tuple[float, ...], tuple[TopTokens, ...]]:
    """The log-probability of each token, and the `num_top` most likely tokens of its row (none if 0)."""
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    chosen = tuple(rows[np.arange(len(tokens)), list(tokens)].tolist())
    return chosen, tuple(_top(row, num_top) for row in rows) if num_top else ()


def _top(
    row: npt.NDArray[np.float64],  # [vocab], log-probabilities
    num_top: int,
) -> TopTokens:
    num_top = min(num_top, len(row))
    tokens = np.argpartition(row, -num_top)[-num_top:]
    tokens = tokens[np.lexsort((tokens, -row[tokens]))]
    return TopTokens(tuple(tokens.tolist()), tuple(row[tokens].tolist()))
