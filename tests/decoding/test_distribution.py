"""What may be chosen after temperature, top-k and top-p, against definitions written out."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goodspeed.decoding.distribution import distribution, truncate_to_top
from goodspeed.decoding.sampling import Rule, Sampling

LOGITS = st.lists(st.integers(-6, 6), min_size=1, max_size=40).map(lambda xs: np.array(xs, dtype=np.float32))


def sampling(temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> Sampling:
    return Sampling(temperature, top_k, top_p, rule=Rule.COUPLED)


def softmax(logits: npt.NDArray[np.float32], temperature: float) -> npt.NDArray[np.float64]:
    weights = np.exp((logits.astype(np.float64) - logits.max()) / temperature)
    return np.asarray(weights / weights.sum())


@given(LOGITS, st.floats(0.05, 5.0))
def test_temperature_without_truncation_is_the_softmax(logits: npt.NDArray[np.float32], temperature: float) -> None:
    kept = distribution(logits, sampling(temperature))
    np.testing.assert_array_equal(kept.token_ids, np.arange(len(logits)))
    np.testing.assert_allclose(kept.probs(), softmax(logits, temperature), rtol=1e-4, atol=1e-9)


@given(LOGITS, st.floats(0.001, 1.0), st.floats(0.2, 3.0))
def test_min_p_keeps_the_tokens_above_a_share_of_the_likeliest(
    logits: npt.NDArray[np.float32], min_p: float, temperature: float
) -> None:
    probs = softmax(logits, temperature)
    kept = distribution(logits, Sampling(temperature, rule=Rule.COUPLED, min_p=min_p)).token_ids
    assert probs[kept].min() >= min_p * probs.max() * (1 - 1e-5)
    assert np.delete(probs, kept).max(initial=0.0) < min_p * probs.max() * (1 + 1e-5)


@given(LOGITS, st.integers(1, 50))
def test_top_k_keeps_the_k_most_likely_tokens_and_ties_with_the_last(
    logits: npt.NDArray[np.float32], top_k: int
) -> None:
    least = np.sort(logits)[::-1][min(top_k, len(logits)) - 1]
    kept = distribution(logits, sampling(top_k=top_k))
    np.testing.assert_array_equal(kept.token_ids, np.flatnonzero(logits >= least))


@given(LOGITS, st.floats(0.001, 0.999), st.floats(0.2, 3.0))
@settings(max_examples=300)
def test_top_p_keeps_the_smallest_likeliest_set_of_that_mass(
    logits: npt.NDArray[np.float32], top_p: float, temperature: float
) -> None:
    probs = softmax(logits, temperature)
    kept = distribution(logits, sampling(temperature, top_p=top_p)).token_ids
    order = np.lexsort((np.arange(len(logits)), -logits))  # likeliest first, among equals the lower id
    np.testing.assert_array_equal(kept, np.sort(order[: len(kept)]))
    assert probs[kept].sum() >= top_p - 1e-6
    assert probs[order[: len(kept) - 1]].sum() < top_p + 1e-6


@given(LOGITS, st.integers(1, 40), st.floats(0.01, 0.99))
def test_top_p_is_a_share_of_the_mass_left_by_top_k(logits: npt.NDArray[np.float32], top_k: int, top_p: float) -> None:
    first = distribution(logits, sampling(top_k=top_k))
    then = distribution(logits[first.token_ids], sampling(top_p=top_p))
    both = distribution(logits, sampling(top_k=top_k, top_p=top_p))
    np.testing.assert_array_equal(both.token_ids, first.token_ids[then.token_ids])


@pytest.mark.parametrize(("top_p", "num_kept"), [(0.25, 1), (0.26, 2), (0.5, 2), (0.75, 3), (0.76, 4)])
def test_top_p_boundary_belongs_to_the_smaller_set(top_p: float, num_kept: int) -> None:
    kept = distribution(np.zeros(4, dtype=np.float32), sampling(top_p=top_p))
    np.testing.assert_array_equal(kept.token_ids, np.arange(num_kept))


def test_one_token_is_always_left() -> None:
    logits = np.array([1.0, 3.0, 2.0], dtype=np.float32)
    assert distribution(logits, sampling(top_p=1e-9)).token_ids.tolist() == [1]
    assert distribution(logits, sampling(top_k=1)).token_ids.tolist() == [1]


@pytest.mark.parametrize("temperature", [1e-300, 1e-30, 1e-5, 100.0])
def test_extreme_temperatures_and_masked_logits_stay_finite(temperature: float) -> None:
    logits = np.array([0.0, 5.0, -3e38, -np.inf], dtype=np.float32)
    with np.errstate(all="raise", under="ignore"):
        probs = distribution(logits, sampling(temperature, top_p=0.99)).probs()
    assert np.isfinite(probs).all()
    assert probs.sum() == pytest.approx(1.0)


def test_a_flat_vocabulary_of_real_size_keeps_its_share() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(0.0, 0.01, 49_152).astype(np.float32)
    kept = distribution(logits, sampling(top_p=0.9))
    probs = softmax(logits, 1.0)
    assert probs[kept.token_ids].sum() == pytest.approx(0.9, abs=1e-4)
    assert probs[kept.token_ids].min() >= np.delete(probs, kept.token_ids).max()


def test_likeliest_of_fewer_is_all() -> None:
    full = distribution(np.array([1.0, 3.0, 2.0], dtype=np.float32), sampling())
    assert truncate_to_top(full, 3) is full
    assert truncate_to_top(full, 2).token_ids.tolist() == [1, 2]
