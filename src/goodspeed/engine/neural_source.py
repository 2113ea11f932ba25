"""A draft model as a source of the hybrid draft engine, and how its top probability is bucketed."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.rules import draft_choice
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.draft_model import DraftModelRunner
from goodspeed.engine.draft_source import COARSE_SHIFT, Guess, Prefix

NUM_TOP_PROB_BUCKETS = 16


class NeuralSource:
    """A draft model as a source of the hybrid engine. Its guess is a function of the prefix under every rule."""

    def __init__(self, runner: DraftModelRunner) -> None:
        self._runner = runner

    def open(self, prefix: Prefix) -> None:
        self._runner.open(prefix)

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        readable = [prefix for prefix in prefixes if self._runner.can_read(prefix)]
        rows = iter(self._runner.rows(readable)) if readable else iter(())
        token_ids = self._runner.token_ids
        return [_guess(next(rows), prefix, token_ids) if prefix in readable else None for prefix in prefixes]

    def rewind(self, prefix: Prefix) -> None:
        """Nothing to do: the runner compares tokens."""

    def commit(self, prefix: Prefix) -> None:
        """Nothing to do: the next pass adds the tokens."""

    def close(self, prefix: Prefix) -> None:
        self._runner.close(prefix)


def _guess(row: npt.NDArray[np.float32], prefix: Prefix, token_ids: npt.NDArray[np.int64] | None) -> Guess:
    sampling = prefix.sampling
    confidence = top_prob(row, sampling)
    # Greedy under the rejection rule: a sampled token would need its draft probabilities on the wire.
    draft_sampling = Sampling() if sampling.rule is Rule.REJECTION else sampling
    token = draft_choice(row, draft_sampling, len(prefix.tokens), token_ids)
    bucket = top_prob_bucket(confidence)
    return Guess(token, (1 + bucket // 4) << COARSE_SHIFT | bucket % 4, min(max(confidence, 0.02), 0.98))


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
