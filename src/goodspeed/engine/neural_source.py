"""A draft model as a source of the hybrid draft engine."""

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
    """A draft model as a source of the hybrid: its guess is a function of the prefix, under every rule."""

    def __init__(self, reader: DraftModelRunner) -> None:
        self._reader = reader

    def open(self, prefix: Prefix) -> None:
        self._reader.open(prefix)

    def guesses(self, prefixes: Sequence[Prefix]) -> list[Guess | None]:
        readable = [prefix for prefix in prefixes if self._reader.can_read(prefix)]
        rows = iter(self._reader.rows(readable)) if readable else iter(())
        token_ids = self._reader.token_ids
        return [_guess(next(rows), prefix, token_ids) if prefix in readable else None for prefix in prefixes]

    def rewind(self, prefix: Prefix) -> None:
        """Nothing to do: the reader compares."""

    def commit(self, prefix: Prefix) -> None:
        """Nothing to do: the next pass catches up."""

    def close(self, prefix: Prefix) -> None:
        self._reader.close(prefix)


def _guess(row: npt.NDArray[np.float32], prefix: Prefix, token_ids: npt.NDArray[np.int64] | None) -> Guess:
    sampling = prefix.sampling
    share = top_prob(row, sampling)
    # Under the rejection rule the likeliest: a draw would need its probabilities on the wire.
    choosing = Sampling() if sampling.rule is Rule.REJECTION else sampling
    token = draft_choice(row, choosing, len(prefix.tokens), token_ids)
    kind = top_prob_bucket(share)
    return Guess(token, (1 + kind // 4) << COARSE_SHIFT | kind % 4, min(max(share, 0.02), 0.98))


def top_prob(
    row: npt.NDArray[np.float32],  # [vocab] logits
    sampling: Sampling,
) -> float:
    """The draft model's probability of its likeliest token, after temperature, top-k and top-p if there is one."""
    if sampling.temperature > 0.0:
        return float(distribution(row, sampling).probs().max())
    return 1.0 / float(np.exp(row - row.max()).sum())


def top_prob_bucket(share: float) -> int:
    """0 .. NUM_SHARES - 1: steps of half a halving of doubt, since what matters is how near to 1 it is."""
    doubt = max(1.0 - share, 2.0**-8)
    return min(NUM_TOP_PROB_BUCKETS - 1, int(-2.0 * np.log2(doubt)))
