"""Greedy and coupled choices, the drafter's side, and what they agree on."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from goodspeed.decoding.distribution import distribution
from goodspeed.decoding.draft import SparseProbs
from goodspeed.decoding.rules import choose, draft_choice, draft_probs_of, draw, match, one_hot, quantise, verify
from goodspeed.decoding.sampling import Rule, Sampling

VOCAB_SIZE = 12
NUM_SEEDS = 4000
SEEDS = st.integers(0, 2**64 - 1)
SAMPLINGS = st.one_of(
    st.just(Sampling()),
    st.builds(
        Sampling,
        temperature=st.floats(0.2, 2.0),
        top_k=st.integers(0, VOCAB_SIZE + 1),
        top_p=st.floats(0.1, 1.0),
        seed=SEEDS,
        rule=st.just(Rule.COUPLED),
    ),
)


def random_logits(seed: int, num_rows: int) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0.0, 2.0, (num_rows, VOCAB_SIZE)).astype(np.float32)


def probs_of(row: npt.NDArray[np.float32], sampling: Sampling) -> npt.NDArray[np.float64]:
    kept = distribution(row, sampling)
    probs = np.zeros(VOCAB_SIZE)
    probs[kept.token_ids] = kept.probs()
    return probs


def coupled(seed: int, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Sampling:
    return Sampling(temperature, top_k, top_p, seed, Rule.COUPLED)


@given(st.integers(0, 10**6), SAMPLINGS, st.integers(0, 500), st.integers(0, 5), st.integers(0, 5))
def test_verdict_is_the_match_of_draft_and_choices(
    world: int, sampling: Sampling, position: int, num_drafted: int, num_right: int
) -> None:
    logits = random_logits(world, num_drafted + 1)
    choices = choose(logits, sampling, position)
    drafted = [int(choices[i]) if i < num_right else int(choices[i] + 1) % VOCAB_SIZE for i in range(num_drafted)]
    num_accepted, next_token = verify(logits, drafted, (), sampling, position)
    assert (num_accepted, next_token) == match(choices, drafted)
    assert num_accepted == min(num_right, num_drafted)
    assert next_token == choices[num_accepted]


@given(st.integers(0, 10**6), SAMPLINGS, st.integers(0, 500))
def test_choice_depends_on_its_own_position_only(world: int, sampling: Sampling, position: int) -> None:
    logits = random_logits(world, 4)
    together = choose(logits, sampling, position)
    assert [int(choose(logits[i : i + 1], sampling, position + i)[0]) for i in range(4)] == together.tolist()
    assert [draft_choice(logits[i], sampling, position + i) for i in range(4)] == together.tolist()


def test_greedy_takes_the_first_of_equals() -> None:
    assert choose(np.array([[1.0, 2.0, 2.0]], dtype=np.float32), Sampling(), 0).tolist() == [1]


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 0, 1.0), (2.0, 5, 1.0), (1.5, 0, 0.8), (2.0, 6, 0.7)]
)
def test_coupled_choice_has_the_targets_distribution(temperature: float, top_k: int, top_p: float) -> None:
    """Chi-square over seeds, p > 1e-3."""
    logits = random_logits(5, 1)
    samplings = [coupled(seed, temperature, top_k, top_p) for seed in range(NUM_SEEDS)]
    counts = np.bincount([int(choose(logits, sampling, 3)[0]) for sampling in samplings], minlength=VOCAB_SIZE)
    expected = probs_of(logits[0], samplings[0]) * NUM_SEEDS
    assert fits(counts, expected) > 1e-3


def test_the_check_sees_a_wrong_temperature() -> None:
    logits = random_logits(5, 1)
    counts = np.bincount([int(choose(logits, coupled(seed), 3)[0]) for seed in range(NUM_SEEDS)], minlength=VOCAB_SIZE)
    assert fits(counts, probs_of(logits[0], coupled(0, temperature=1.2)) * NUM_SEEDS) < 1e-6


def fits(counts: npt.NDArray[np.int64], expected: npt.NDArray[np.float64]) -> float:
    assert counts[expected == 0.0].sum() == 0
    common = expected >= 5.0
    observed = [*counts[common], counts[~common].sum()]
    wanted = np.array([*expected[common], expected[~common].sum() + 1e-9])
    return float(stats.chisquare(observed, wanted / wanted.sum() * NUM_SEEDS).pvalue)


@pytest.mark.parametrize("world", range(6))
def test_coupled_acceptance_reaches_its_bound(world: int) -> None:
    """At least (1 - d) / (1 + d), d the total variation distance, less 4 standard deviations."""
    logits = random_logits(world, 2)
    distance = 0.5 * float(np.abs(probs_of(logits[0], coupled(0)) - probs_of(logits[1], coupled(0))).sum())
    bound = (1.0 - distance) / (1.0 + distance)
    agreed = [
        draft_choice(logits[0], coupled(s), 9) == draft_choice(logits[1], coupled(s), 9) for s in range(NUM_SEEDS)
    ]
    assert np.mean(agreed) >= bound - 4 * np.sqrt(bound * (1 - bound) / NUM_SEEDS)


def test_noise_shifted_by_a_position_accepts_only_by_chance() -> None:
    """What the bound's test would see of a drafter whose positions are off by one."""
    logits = random_logits(0, 1)[0]
    agreed = [draft_choice(logits, coupled(s), 9) == draft_choice(logits, coupled(s), 10) for s in range(NUM_SEEDS)]
    by_chance = float((probs_of(logits, coupled(0)) ** 2).sum())
    assert np.mean(agreed) == pytest.approx(by_chance, abs=4 * np.sqrt(by_chance * (1 - by_chance) / NUM_SEEDS))


WEIGHTS = st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=30)


@given(WEIGHTS, st.integers(1, 40))
def test_quantised_distribution_keeps_the_likeliest(weights: Sequence[float], size: int) -> None:
    token_ids = np.arange(len(weights)) * 3 + 1
    probs = np.array(weights)
    sparse = quantise(token_ids, probs, size)
    assert 0 < len(sparse.token_ids) <= size
    assert (np.diff(sparse.token_ids.astype(np.int64)) > 0).all()
    assert (sparse.weights > 0).all()
    assert sparse.token_ids.dtype == np.uint32
    assert sparse.weights.dtype == np.uint16
    kept = (sparse.token_ids.astype(np.int64) - 1) // 3
    np.testing.assert_allclose(sparse.weights / 65535, probs[kept] / probs.max(), atol=0.5 / 65535 + 1e-12)
    dropped = np.delete(probs, kept)
    assert len(dropped) == 0 or len(kept) == size or dropped.max() <= probs.max() / 65535


def test_draft_distribution_is_the_streams_own_truncation() -> None:
    logits = random_logits(1, 1)[0]
    sampling = Sampling(0.8, 6, 0.9, rule=Rule.REJECTION)
    sparse = draft_probs_of(logits, sampling, VOCAB_SIZE)
    expected = probs_of(logits, sampling)
    np.testing.assert_array_equal(sparse.token_ids, np.flatnonzero(expected))
    np.testing.assert_allclose(sparse.weights / sparse.weights.sum(), expected[sparse.token_ids], atol=1e-4)


def test_drafter_samples_exactly_the_distribution_that_it_sends() -> None:
    sparse = quantise(np.array([2, 5, 7]), np.array([0.6, 0.1, 0.3]), 3)
    tokens = [draw(sparse, Sampling(1.0, seed=seed, rule=Rule.REJECTION), 4, 4) for seed in range(NUM_SEEDS)]
    observed = [tokens.count(token) for token in (2, 5, 7)]
    wanted = sparse.weights / sparse.weights.sum() * NUM_SEEDS
    assert stats.chisquare(observed, wanted).pvalue > 1e-3


def test_drawing_under_the_greedy_rule_takes_the_likeliest() -> None:
    sparse = quantise(np.array([2, 5, 7]), np.array([0.1, 0.6, 0.3]), 3)
    assert draw(sparse, Sampling(), 4, 4) == 5


def test_drawing_under_the_coupled_rule_agrees_with_the_target() -> None:
    logits = random_logits(2, 1)[0]
    sparse = draft_probs_of(logits, coupled(0), VOCAB_SIZE)
    agreed = [draw(sparse, coupled(seed), 3, 3) == draft_choice(logits, coupled(seed), 3) for seed in range(1000)]
    assert np.mean(agreed) > 0.99


def test_one_hot_is_certain() -> None:
    sparse = one_hot(7)
    assert isinstance(sparse, SparseProbs)
    assert draw(sparse, Sampling(1.0, rule=Rule.REJECTION), 0, 0) == 7
