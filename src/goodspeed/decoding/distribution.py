"""The token distribution of a position: logits after temperature, then min-p, then top-k, then top-p."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.sampling import Sampling

MIN_TEMPERATURE = 1e-5
"""A lower temperature is replaced by this one, because scaled float32 logits would overflow."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The tokens with nonzero probability, in ascending order, and their weights."""

    token_ids: npt.NDArray[np.int64]  # [n], 1 <= n <= vocab
    log_weights: npt.NDArray[np.float32]  # [n], <= 0: log-probability up to a constant; 0 for the most likely token

    def probs(self) -> npt.NDArray[np.float32]:
        """[n]: probabilities; their sum is 1 up to float32 rounding."""
        weights = np.exp(self.log_weights)
        weights /= np.float32(weights.sum(dtype=np.float64))
        return weights


def distribution(
    logits: npt.NDArray[np.float32],  # [vocab]
    sampling: Sampling,  # temperature > 0
) -> Distribution:
    """The distribution that a token is sampled from.

    Min-p keeps the tokens with at least min_p times the most likely token's probability. Top-k keeps every token that
    ties with the k-th. Top-p keeps the smallest set of the most likely tokens whose mass, relative to the tokens left
    by top-k, is at least top_p; at least one token. Ties go to lower ids.
    """
    with np.errstate(over="ignore"):  # a masked logit of -3e38 may become -inf
        log_weights = logits - logits.max()
        log_weights /= np.float32(max(sampling.temperature, MIN_TEMPERATURE))
    result = Distribution(_all_tokens(len(logits)), log_weights)
    if sampling.min_p > 0.0:
        result = _select(result, np.flatnonzero(log_weights >= np.float32(math.log(sampling.min_p))))
    if sampling.top_k > 0:
        result = truncate_to_top(result, sampling.top_k)
    if sampling.top_p < 1.0:
        result = _top_p(result, sampling.top_p)
    return result


def truncate_to_top(full: Distribution, num_tokens: int) -> Distribution:
    """The `num_tokens` most likely tokens, and every token that ties with the last of them."""
    if num_tokens >= len(full.token_ids):
        return full
    min_log_weight = np.partition(full.log_weights, -num_tokens)[-num_tokens]
    return _select(full, np.flatnonzero(full.log_weights >= min_log_weight))


@lru_cache(maxsize=4)
def _all_tokens(vocab_size: int) -> npt.NDArray[np.int64]:
    """Cached: a new array of 400 kB per row costs more (0.3 ms of page faults) than the rest of this module."""
    token_ids = np.arange(vocab_size)
    token_ids.setflags(write=False)
    return token_ids


def _top_p(full: Distribution, top_p: float) -> Distribution:
    """Top-p that sorts only the heavy tokens.

    Let the weights of n tokens sum to `total`. The tokens with weights below (1 - top_p) * total / n sum to at most
    (1 - top_p) * total, so the others suffice: hundreds for a language model, not the whole vocabulary.
    """
    weights = np.exp(full.log_weights)
    total = float(weights.sum(dtype=np.float64))
    min_weight = (1.0 - top_p) * total / len(weights)
    heavy = _select(full, np.flatnonzero(weights >= min(0.999 * min_weight, 1.0)))
    descending = np.sort(heavy.log_weights)[::-1]
    mass = np.cumsum(np.exp(descending), dtype=np.float64)
    num_kept = min(int(np.searchsorted(mass, top_p * total)) + 1, len(mass))
    return _heaviest(heavy, num_kept, descending[num_kept - 1])


def _heaviest(full: Distribution, num_kept: int, min_log_weight: np.float32) -> Distribution:
    """The `num_kept` heaviest tokens, where `min_log_weight` is the lowest weight kept; ties go to lower ids."""
    is_kept = full.log_weights > min_log_weight
    ties = np.flatnonzero(full.log_weights == min_log_weight)
    is_kept[ties[: num_kept - int(is_kept.sum())]] = True
    return _select(full, np.flatnonzero(is_kept))


def _select(full: Distribution, indices: npt.NDArray[np.int64]) -> Distribution:
    return Distribution(full.token_ids[indices], full.log_weights[indices])
