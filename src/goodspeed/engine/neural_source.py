"""A draft model as a source of the hybrid draft engine, and how its top probability is bucketed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.rules import draft_choice
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.draft_model import DraftModelRunner
from goodspeed.engine.draft_source import COARSE_SHIFT, EVIDENCE_BITS, PackedGuess, Prefix

NUM_TOP_PROB_BUCKETS = 16


class NeuralSource:
    """A draft model as a source of the hybrid engine. Its guess is a function of the prefix under every rule."""

    def __init__(self, runner: DraftModelRunner) -> None:
        self._runner = runner

    @property
    def priors(self) -> Sequence[float]:
        return EVIDENCE_PRIORS

    @property
    def num_without_memory(self) -> int:
        return self._runner.num_without_memory

    def open(self, prefix: Prefix) -> None:
        self._runner.open(prefix)

    def read_later(self) -> None:
        self._runner.read_later()

    def catch_up(self) -> bool:
        return self._runner.catch_up()

    def guesses(self, prefixes: Sequence[Prefix]) -> list[PackedGuess]:
        readable = [prefix for prefix in prefixes if self._runner.can_read(prefix)]
        rows = iter(self._runner.rows(readable)) if readable else iter(())
        token_ids = self._runner.token_ids
        return [_guess(next(rows), prefix, token_ids) if prefix in readable else 0 for prefix in prefixes]

    def close(self, prefix: Prefix) -> None:
        self._runner.close(prefix)


def _guess(row: npt.NDArray[np.float32], prefix: Prefix, token_ids: npt.NDArray[np.int64] | None) -> PackedGuess:
    sampling = prefix.sampling
    confidence = top_prob(row, sampling)
    # Greedy under the rejection rule: a sampled token would need its draft probabilities on the wire.
    draft_sampling = Sampling() if sampling.rule is Rule.REJECTION else sampling
    token = draft_choice(row, draft_sampling, len(prefix.tokens), token_ids)
    bucket = top_prob_bucket(confidence)
    return token << EVIDENCE_BITS | (1 + bucket // 4) << COARSE_SHIFT | bucket % 4


def top_prob(
    row: npt.NDArray[np.float32],  # [vocab] logits
    sampling: Sampling,
) -> float:
    """The draft model's probability of its most likely token; greedy: at temperature 1 without truncation."""
    if sampling.temperature > 0.0:
        return float(distribution(row, sampling).probs().max())
    return 1.0 / float(np.exp(row - row.max()).sum())


def top_prob_bucket(prob: float) -> int:
    """0 .. NUM_TOP_PROB_BUCKETS - 1: two buckets for each halving of 1 - prob, for the distance from 1 matters."""
    complement = max(1.0 - prob, 2.0**-8)
    return min(NUM_TOP_PROB_BUCKETS - 1, int(-2.0 * np.log2(complement)))


def _prior(bucket: int) -> float:
    """The probability in the middle of the bucket."""
    return float(min(1.0 - 2.0 ** (-(bucket + 0.5) / 2), 0.98))


EVIDENCE_PRIORS = tuple(
    _prior(4 * ((evidence >> COARSE_SHIFT) - 1) + evidence % 4) if evidence >> COARSE_SHIFT else 0.5
    for evidence in range((NUM_TOP_PROB_BUCKETS // 4 + 1) << COARSE_SHIFT)
)
