"""Accepted draft tokens per round: block verification beside the test of single tokens, on the same drafts.

The target is the toy model at temperature 1. The draft's logits are the target's with normal noise of a given standard
deviation. Each round drafts from its own prefix; both rules judge the same draft. 1 minute.

    python -m runs.block_verification
"""

import argparse
from collections.abc import Sequence

import numpy as np

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.noise import Purpose, uniform
from goodspeed.decoding.rules import draft_probs_of, draw, reject
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_model import TOY_VOCAB_SIZE, ToyModel, hash64

NUM_PROMPT = 4
PROBS_SIZE = 32


class NoisyDraft:
    """A draft model whose logits are those of the target with normal noise, the same for the same context."""

    def __init__(self, target: ToyModel, deviation: float) -> None:
        self._target = target
        self._deviation = deviation

    def probs(self, tokens: Sequence[int], sampling: Sampling) -> SparseProbs:
        rng = np.random.default_rng(hash64(*tokens[-NUM_PROMPT:]))
        noise = rng.normal(0.0, self._deviation, TOY_VOCAB_SIZE).astype(np.float32)
        return draft_probs_of(self._target.row(tokens) + noise, sampling, PROBS_SIZE)


def num_accepted_one_by_one(
    rows: Sequence[np.ndarray], tokens: Sequence[int], probs: Sequence[SparseProbs], sampling: Sampling
) -> int:
    """Leviathan et al. 2023, algorithm 1."""
    for i, (row, token, draft) in enumerate(zip(rows, tokens, probs, strict=False)):
        target = distribution(row, sampling)
        target_prob = target.probs()[target.token_ids == token].sum()
        draft_prob = draft.weights[draft.token_ids == token].sum() / draft.weights.sum(dtype=np.float64)
        if uniform(sampling.seed, NUM_PROMPT + i, Purpose.ACCEPT) * draft_prob >= target_prob:
            return i
    return len(tokens)


def accepted(draft: NoisyDraft, target: ToyModel, window: int, seed: int) -> tuple[int, int]:
    """(block verification, one by one) of one round."""
    sampling = Sampling(1.0, seed=seed, rule=Rule.REJECTION)
    prompt = tuple(np.random.default_rng(seed).integers(97, 123, NUM_PROMPT).tolist())
    tokens, probs = [*prompt], []
    for _ in range(window):
        probs.append(draft.probs(tokens, sampling))
        tokens.append(draw(probs[-1], sampling, len(tokens), NUM_PROMPT))
    rows = np.stack([target.row(tokens[: NUM_PROMPT + i]) for i in range(window + 1)])
    drafted = tokens[NUM_PROMPT:]
    num_in_block, _ = reject(rows, drafted, probs, sampling, NUM_PROMPT)
    return num_in_block, num_accepted_one_by_one(list(rows), drafted, probs, sampling)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4000, help="rounds per line")
    rounds = parser.parse_args().rounds
    target = ToyModel()
    print("| deviation | window | one by one | block | gain |\n|---|---|---|---|---|")
    for deviation in (0.5, 1.0, 2.0):
        draft = NoisyDraft(target, deviation)
        for window in (2, 4, 8):
            pairs = np.array([accepted(draft, target, window, seed) for seed in range(rounds)], dtype=float)
            errors = [*pairs.std(axis=0), (pairs[:, 0] - pairs[:, 1]).std()] / np.sqrt(rounds)
            block, single = pairs.mean(axis=0)
            cells = [f"{single:.3f} ± {errors[1]:.3f}", f"{block:.3f} ± {errors[0]:.3f}"]
            print(f"| {deviation} | {window} | {' | '.join(cells)} | {block - single:+.3f} ± {errors[2]:.3f} |")


if __name__ == "__main__":
    main()
