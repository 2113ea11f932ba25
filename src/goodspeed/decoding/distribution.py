"""A position's token distribution: logits after temperature, then top-k, then top-p."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.sampling import Sampling

MIN_TEMPERATURE = 1e-5
"""Lower temperatures count as this one: float32 logits could not be scaled by less without overflow."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """The tokens that may be chosen, ascending, and how likely each is."""

    token_ids: npt.NDArray[np.int64]  # [n], 1 <= n <= vocab
    log_weights: npt.NDArray[np.float32]  # [n], <= 0: log-probability up to a constant, the likeliest has 0

    def probs(self) -> npt.NDArray[np.float32]:
        """[n], sums to 1 but for float32's rounding of each."""
        weights = np.exp(self.log_weights)
        weights /= np.float32(weights.sum(dtype=np.float64))
        return weights


def distribution(
    logits: npt.NDArray[np.float32],  # [vocab]
    sampling: Sampling,  # temperature > 0
) -> Distribution:
    """What a token is drawn from.

    Top-k keeps every token that ties with the k-th. Top-p keeps the smallest set of the likeliest tokens whose mass
    (of what top-k left) is at least top_p, among equals the lower ids; at least one token.
    """
    with np.errstate(over="ignore"):  # a masked logit of -3e38 may become -inf
        log_weights = logits - logits.max()
        log_weights /= np.float32(max(sampling.temperature, MIN_TEMPERATURE))
    kept = Distribution(_all_tokens(len(logits)), log_weights)
    if sampling.top_k > 0:
        kept = truncate_to_top(kept, sampling.top_k)
    if sampling.top_p < 1.0:
        kept = _top_p(kept, sampling.top_p)
    return kept


def truncate_to_top(full: Distribution, num_tokens: int) -> Distribution:
    """Its likeliest tokens, and every token that ties with the last of them."""
    if num_tokens >= len(full.token_ids):
        return full
    least = np.partition(full.log_weights, -num_tokens)[-num_tokens]
    return _at(full, np.flatnonzero(full.log_weights >= least))


@lru_cache(maxsize=4)
def _all_tokens(vocab_size: int) -> npt.NDArray[np.int64]:
    """Made once: a fresh array of 400 kB for every row costs more (0.3 ms of page faults) than all else here."""
    token_ids = np.arange(vocab_size)
    token_ids.setflags(write=False)
    return token_ids


def _top_p(full: Distribution, top_p: float) -> Distribution:
    """Sorts only what may be kept.

    Let n tokens weigh `total` together. Those lighter than (1 - top_p) * total / n weigh at most (1 - top_p) * total
    together, so the others suffice: on a language model's logits hundreds, not the whole vocabulary.
    """
    weights = np.exp(full.log_weights)
    total = float(weights.sum(dtype=np.float64))
    least = (1.0 - top_p) * total / len(weights)
    heavy = _at(full, np.flatnonzero(weights >= min(0.999 * least, 1.0)))
    descending = np.sort(heavy.log_weights)[::-1]
    mass = np.cumsum(np.exp(descending), dtype=np.float64)
    num_kept = min(int(np.searchsorted(mass, top_p * total)) + 1, len(mass))
    return _heaviest(heavy, num_kept, descending[num_kept - 1])


def _heaviest(full: Distribution, num_kept: int, least: np.float32) -> Distribution:
    """The `num_kept` heaviest tokens, the lightest of which has log-weight `least`; among equals the lower ids."""
    is_kept = full.log_weights > least
    ties = np.flatnonzero(full.log_weights == least)
    is_kept[ties[: num_kept - int(is_kept.sum())]] = True
    return _at(full, np.flatnonzero(is_kept))


def _at(full: Distribution, places: npt.NDArray[np.int64]) -> Distribution:
    return Distribution(full.token_ids[places], full.log_weights[places])
