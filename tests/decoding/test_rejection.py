"""The rejection rule, as statistics: texts come out as the target's own distribution has them, whatever the drafts.

A world small enough to know every text's probability: 4 tokens, 3-token texts, a target and an unlike draft model.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.noise import Purpose, uniform
from goodspeed.decoding.rules import choose, draft_probs_of, draw, one_hot, quantise, reject
from goodspeed.decoding.sampling import Rule, Sampling
from goodspeed.engine.toy_model import ToyModel

Rows = npt.NDArray[np.float32]
Probs = npt.NDArray[np.float64]
Tokens = tuple[int, ...]
VerifyRule = Callable[[Rows, Sequence[int], Sequence[SparseProbs], Sampling, int], tuple[int, int]]
DraftProbs = Callable[[Tokens], SparseProbs]
Target = Callable[[Tokens], Rows]
Keeps = Callable[[SparseProbs, int], bool]

VOCAB_SIZE = 4
PROMPT = (1, 2)
LENGTH = 3
WINDOW = 2
NUM_TEXTS = 2000
TEMPERATURE = 4.0  # warm enough for all 64 texts to be likely
SOUND = 1e-3  # a sound rule's p-value is above (seeds are fixed: it either is or is not)
BROKEN = 1e-6  # a planted bug's is below


def sampling(seed: int = 0) -> Sampling:
    return Sampling(TEMPERATURE, seed=seed, rule=Rule.REJECTION)


target_row = cache(ToyModel(VOCAB_SIZE, seed=1).row)
draft_row = cache(ToyModel(VOCAB_SIZE, seed=2).row)


@cache
def full(tokens: Tokens) -> SparseProbs:
    return draft_probs_of(draft_row(tokens), sampling(), VOCAB_SIZE)


@cache
def truncated(tokens: Tokens) -> SparseProbs:
    return draft_probs_of(draft_row(tokens), sampling(), 2)


@cache
def coarse(tokens: Tokens) -> SparseProbs:
    probs = full(tokens)
    return SparseProbs(probs.token_ids, (probs.weights // 16384 + 1).astype(np.uint16))


@cache
def only_argmax(tokens: Tokens) -> SparseProbs:
    return one_hot(int(np.argmax(draft_row(tokens))))


def mixed(tokens: Tokens) -> SparseProbs:
    return only_argmax(tokens) if sum(tokens) % 2 else truncated(tokens)


def always(_probs: SparseProbs, _token: int) -> bool:
    return True


def while_confident(probs: SparseProbs, _token: int) -> bool:
    """Looks at the distribution only: sound."""
    return int(probs.weights.max()) > 0.66 * int(probs.weights.sum())


def if_likeliest(probs: SparseProbs, token: int) -> bool:
    """Looks at which token was drawn: the trap."""
    return token == int(probs.token_ids[np.argmax(probs.weights)])


def write(rule: VerifyRule, draft_probs: DraftProbs, keeps: Keeps, seed: int, target: Target = target_row) -> Tokens:
    """A text in rounds; a round's draft ends before the first token that is not kept."""
    tokens: Tokens = PROMPT
    while len(tokens) < len(PROMPT) + LENGTH:
        drafted, probs = _draft(tokens, draft_probs, keeps, seed)
        rows = np.stack([target((*tokens, *drafted[:i])) for i in range(len(drafted) + 1)])
        num_accepted, next_token = rule(rows, drafted, probs, sampling(seed), len(tokens))
        tokens = (*tokens, *drafted[:num_accepted], next_token)
    return tokens[len(PROMPT) : len(PROMPT) + LENGTH]


def _draft(tokens: Tokens, draft_probs: DraftProbs, keeps: Keeps, seed: int) -> tuple[Tokens, list[SparseProbs]]:
    drafted: Tokens = ()
    probs: list[SparseProbs] = []
    for _ in range(WINDOW):
        draft = draft_probs((*tokens, *drafted))
        token = _draw_token(draft, sampling(seed), len(tokens) + len(drafted), len(tokens))
        if not keeps(draft, token):
            break
        drafted, probs = (*drafted, token), [*probs, draft]
    return drafted, probs


_draw_token = draw


@cache
def text_probs(target: Target) -> dict[Tokens, float]:
    found = {}
    for text in itertools.product(range(VOCAB_SIZE), repeat=LENGTH):
        rows = [target((*PROMPT, *text[:i])) for i in range(LENGTH)]
        found[text] = float(np.prod([dense(row)[token] for row, token in zip(rows, text, strict=True)]))
    return found


def dense(row: Rows) -> Probs:
    return distribution(row, sampling()).probs().astype(np.float64)


def p_value(rule: VerifyRule, draft_probs: DraftProbs, keeps: Keeps, target: Target = target_row) -> float:
    """Chi-square of the texts of seeds 0, 1, ... against the target's distribution; rare texts count together."""
    counts = Counter(write(rule, draft_probs, keeps, seed, target) for seed in range(NUM_TEXTS))
    common = {text: prob * NUM_TEXTS for text, prob in text_probs(target).items() if prob * NUM_TEXTS >= 5.0}
    observed = [counts[text] for text in common]
    expected = list(common.values())
    if len(common) < len(text_probs(target)):
        observed.append(NUM_TEXTS - sum(observed))
        expected.append(NUM_TEXTS - sum(expected))
    return float(stats.chisquare(observed, expected, sum_check=False).pvalue)


@pytest.mark.parametrize("draft_probs", [full, truncated, coarse, only_argmax, mixed])
def test_texts_are_the_targets_whatever_the_draft_distribution(draft_probs: DraftProbs) -> None:
    assert p_value(reject, draft_probs, always) > SOUND


def test_stopping_by_the_draft_distribution_keeps_texts_exact() -> None:
    assert p_value(reject, full, while_confident) > SOUND


def test_stopping_by_the_sampled_token_biases_the_text_and_is_detected() -> None:
    assert p_value(reject, full, if_likeliest) < BROKEN


@pytest.mark.parametrize("keeps", [always, if_likeliest])
def test_a_drawn_token_sent_without_its_distribution_is_exact_under_any_stopping(keeps: Keeps) -> None:
    """Given the drawn token, the one-hot rule is exact; only fewer tokens are accepted."""
    assert p_value(without_probs, full, keeps) > SOUND


def without_probs(
    rows: Rows, drafted: Sequence[int], _probs: Sequence[SparseProbs], sampling: Sampling, first_position: int
) -> tuple[int, int]:
    return reject(rows, drafted, (), sampling, first_position)


def test_the_trap_in_one_line() -> None:
    """Target and draft uniform on {0, 1}, propose only a drawn 0: it comes out 3 times in 4."""
    row = np.zeros((1, 2), dtype=np.float32)
    half = quantise(np.arange(2), np.array([0.5, 0.5]), 2)
    texts: Counter[int] = Counter()
    for seed in range(NUM_TEXTS):
        token = draw(half, sampling(seed), 7, 7)
        drafted, probs = ((token,), (half,)) if token == 0 else ((), ())
        accepted, next_token = reject(np.repeat(row, 1 + len(drafted), axis=0), drafted, probs, sampling(seed), 7)
        texts[token if accepted else next_token] += 1
    assert texts[0] / NUM_TEXTS == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / NUM_TEXTS))


def test_target_without_drafts_samples_its_distribution() -> None:
    row = target_row(PROMPT)[np.newaxis]
    baseline = Counter(int(choose(row, sampling(seed), 2)[0]) for seed in range(NUM_TEXTS))
    observed = [baseline[token] for token in range(VOCAB_SIZE)]
    assert stats.chisquare(observed, NUM_TEXTS * dense(row[0]) / dense(row[0]).sum()).pvalue > SOUND


def test_drafts_outside_a_truncated_target_do_not_disturb_it() -> None:
    """The target keeps 4 of 8 tokens, the draft distribution all of them."""
    rng = np.random.default_rng(9)
    rows = np.stack([rng.permutation(8).astype(np.float32)] * 2)
    draft = quantise(np.arange(8), rng.random(8), 8)
    counts: Counter[int] = Counter()
    for seed in range(NUM_TEXTS):
        narrow = replace(sampling(seed), top_k=4)
        token = draw(draft, narrow, 2, 2)
        accepted, next_token = reject(rows, (token,), (draft,), narrow, 2)
        counts[token if accepted else next_token] += 1
    kept = distribution(rows[0], replace(sampling(), top_k=4))
    observed = [counts.pop(token) for token in kept.token_ids.tolist()]
    assert not counts
    assert stats.chisquare(observed, kept.probs().astype(np.float64) * NUM_TEXTS, sum_check=False).pvalue > SOUND


def test_a_large_vocabulary_is_drawn_from_by_inversion() -> None:
    """Beside the one-line way; tokens of probability 0 never come."""
    rng = np.random.default_rng(8)
    logits = rng.normal(0.0, 1.0, (1, 1000)).astype(np.float32)
    logits[0, rng.random(1000) < 0.3] = -np.inf
    cumulative = np.cumsum(dense(logits[0]))
    for seed in range(NUM_TEXTS):
        token = int(choose(logits, sampling(seed), 5)[0])
        level = uniform(seed, 5, Purpose.CHOOSE) * cumulative[-1]
        assert token == int(np.searchsorted(cumulative, level, side="right"))
        assert logits[0, token] > -np.inf


@pytest.mark.parametrize("draft_probs", [full, truncated, only_argmax])
def test_acceptance_is_one_minus_the_total_variation(draft_probs: DraftProbs) -> None:
    """Within 4 standard deviations."""
    rows = np.stack([target_row(PROMPT)] * 2)
    draft = draft_probs(PROMPT)
    expected = float(np.minimum(dense(rows[0]), spread(draft)).sum())
    kept = [
        reject(rows, (draw(draft, sampling(seed), 2, 2),), (draft,), sampling(seed), 2)[0] for seed in range(NUM_TEXTS)
    ]
    assert np.mean(kept) == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / NUM_TEXTS))


def spread(probs: SparseProbs) -> Probs:
    found = np.zeros(VOCAB_SIZE)
    found[probs.token_ids] = probs.weights / probs.weights.sum(dtype=np.float64)
    return found


@dataclass(frozen=True)
class Plain:
    """The rule once more, dense and in the paper's order, with parts that a test can break."""

    block_prob: Callable[[float, float], float] = lambda before, ratio: min(1.0, before * ratio)
    leftover: Callable[[float, Probs, Probs], Probs] = lambda block, target, draft: np.maximum(
        block * target - draft, 0
    )
    recovers_with: Callable[[float], float] = lambda block: block
    choose_purpose: Purpose = Purpose.CHOOSE
    bonus_row: int = -1
    is_new_in_each_round: bool = True

    def __call__(
        self,
        rows: Rows,
        drafted: Sequence[int],
        draft_probs: Sequence[SparseProbs],
        sampling: Sampling,
        first_position: int,
    ) -> tuple[int, int]:
        targets, drafts = [dense(row) for row in rows], [spread(probs) for probs in draft_probs]
        blocks, accepted = [1.0], 0
        for i, token in enumerate(drafted):
            blocks.append(self.block_prob(blocks[-1], float(targets[i][token] / drafts[i][token])))
            num_committed = first_position if self.is_new_in_each_round else 0
            u = uniform(sampling.seed, first_position + i, Purpose.ACCEPT, num_committed)
            if u < self._acceptance(blocks[i + 1], targets[i + 1], drafts[i + 1] if i + 1 < len(drafted) else None):
                accepted = i + 1
        if accepted == len(drafted):
            return accepted, self._draw(
                targets[self.bonus_row], sampling.seed, first_position + accepted, first_position
            )
        leftover = self.leftover(self.recovers_with(blocks[accepted]), targets[accepted], drafts[accepted])
        return accepted, self._draw(leftover, sampling.seed, first_position + accepted, first_position)

    def _acceptance(self, block: float, target: Probs, draft: Probs | None) -> float:
        """Of a block that ends before this position, given that no longer one is accepted."""
        if draft is None:
            return block
        total = float(self.leftover(block, target, draft).sum())
        return total / (total + 1.0 - block) if total else 0.0

    def _draw(self, weights: Probs, seed: int, position: int, num_committed: int) -> int:
        is_choice = self.choose_purpose is Purpose.CHOOSE
        level = uniform(seed, position, self.choose_purpose, 0 if is_choice else num_committed) * weights.sum()
        return int(np.searchsorted(np.cumsum(weights), level, side="right"))


def test_rule_decides_as_the_paper_writes_it() -> None:
    for seed in range(300):
        assert write(reject, truncated, always, seed) == write(Plain(), truncated, always, seed)


def test_a_block_is_followed_by_what_its_probability_leaves() -> None:
    """p_1 is 0.5 and the second token is rejected: what is left of 0.5 * target is token 1, not tokens 1 and 2."""
    rows = np.log(np.array([[0.25, 0.75, 1e-9, 1e-9], [0.01, 0.69, 0.29, 0.01], [0.25] * 4])).astype(np.float32)
    drafts = [quantise(np.arange(4), np.array(probs), 4) for probs in ([0.5, 0.5, 1e-9, 1e-9], [0.6, 0.1, 0.2, 0.1])]
    followed: Counter[int] = Counter()
    for seed in range(300):
        cold = replace(sampling(seed), temperature=1.0)
        accepted, next_token = reject(rows, (0, 0), drafts, cold, 2)
        if accepted == 1:
            followed[next_token] += 1
    assert set(followed) == {1}
    assert followed[1] > 30


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(
            Plain(leftover=lambda _block, target, _draft: target), id="recovers from the target's distribution"
        ),
        pytest.param(
            Plain(leftover=lambda block, target, draft: np.abs(block * target - draft)), id="recovers from |p - q|"
        ),
        pytest.param(Plain(block_prob=lambda _before, ratio: min(1.0, ratio)), id="forgets the tokens before"),
        pytest.param(Plain(block_prob=lambda _before, _ratio: 1.0), id="accepts all"),
        pytest.param(Plain(bonus_row=0), id="bonus from another position"),
    ],
)
def test_planted_bugs_of_the_rule_are_detected(broken: VerifyRule) -> None:
    assert p_value(broken, full, always) < BROKEN


class Alternating:
    """A world in which positions of two kinds alternate: tokens 0 and 1 together have these probabilities there."""

    def __init__(self, target_probs: tuple[float, float], draft_probs: tuple[float, float]) -> None:
        self._rows = [(TEMPERATURE * np.log(halves(prob))).astype(np.float32) for prob in target_probs]
        self._drafts = [quantise(np.arange(VOCAB_SIZE), halves(prob), VOCAB_SIZE) for prob in draft_probs]

    def target(self, tokens: Tokens) -> Rows:
        return self._rows[len(tokens) % 2]

    def draft(self, tokens: Tokens) -> SparseProbs:
        return self._drafts[len(tokens) % 2]

    def p_value(self, rule: VerifyRule) -> float:
        return p_value(rule, self.draft, always, self.target)


def halves(prob: float) -> Probs:
    return np.array([prob, prob, 1.0 - prob, 1.0 - prob]) / 2.0


UNLIKE_FIRST = Alternating((0.5, 0.65), (0.05, 0.4))
UNLIKE_BOTH = Alternating((0.5, 0.35), (0.95, 0.05))


@pytest.mark.parametrize("world", [UNLIKE_FIRST, UNLIKE_BOTH])
def test_blocks_are_exact_where_single_tokens_would_be_rejected(world: Alternating) -> None:
    assert world.p_value(reject) > SOUND


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(Plain(choose_purpose=Purpose.ACCEPT), id="one uniform for acceptance and recovery"),
        pytest.param(Plain(is_new_in_each_round=False), id="the acceptance numbers of an earlier round"),
    ],
)
def test_planted_bugs_of_its_random_numbers_are_detected(broken: VerifyRule) -> None:
    assert UNLIKE_BOTH.p_value(broken) < BROKEN


def test_drawing_again_with_the_numbers_of_an_earlier_round_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict depends on all tokens of its proposal, so the rejected ones are no longer random."""

    def with_old_numbers(probs: SparseProbs, params: Sampling, position: int, _num_committed: int) -> int:
        return draw(probs, params, position, 0)

    monkeypatch.setattr(sys.modules[__name__], "_draw_token", with_old_numbers)
    assert UNLIKE_FIRST.p_value(reject) < BROKEN


def test_a_drafter_that_sends_a_wrong_distribution_is_detected() -> None:
    assert p_value(sharpened, full, always) < BROKEN


def sharpened(
    rows: Rows, drafted: Sequence[int], probs: Sequence[SparseProbs], sampling: Sampling, first_position: int
) -> tuple[int, int]:
    sharper = [quantise(draft.token_ids, draft.weights.astype(np.float64) ** 2, VOCAB_SIZE) for draft in probs]
    return reject(rows, drafted, sharper, sampling, first_position)
