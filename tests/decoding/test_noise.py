"""The noise: the same everywhere, independent where it must be, and Gumbel."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from goodspeed.decoding.noise import Purpose, gumbel_at, gumbel_of, gumbel_row, uniform

UINT64 = st.integers(0, 2**64 - 1)


def test_values_never_change() -> None:
    """A stream must go on with the same noise after an upgrade, on another machine, with another NumPy."""
    noise = [-0.20867418, 0.99405962, 1.96033370, 0.81748098]
    np.testing.assert_allclose(gumbel_row(1, 2, 4), noise, rtol=1e-6)
    assert [uniform(1, 2, purpose) for purpose in Purpose] == [
        0.575300433347867,
        0.4214513002125032,
        0.6987130805958253,
    ]


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Philox4x64-10 (Salmon et al. 2011, section 4.3) in whole numbers: what another language would have to write."""
    multipliers, increments, mask = (
        (0xD2E7470EE14C6C93, 0xCA5A826395121157),
        (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B),
        2**64 - 1,
    )
    for _ in range(10):
        first, second = multipliers[0] * counter[0], multipliers[1] * counter[2]
        counter = [
            (second >> 64) ^ counter[1] ^ key[0],
            second & mask,
            (first >> 64) ^ counter[3] ^ key[1],
            first & mask,
        ]
        key = [(word + increment) & mask for word, increment in zip(key, increments, strict=True)]
    return counter


@given(UINT64, st.integers(0, 2**40), st.integers(0, 200_000))
def test_noise_can_be_made_anywhere_from_its_description(seed: int, position: int, token: int) -> None:
    word = philox([token // 8 + 1, 0, 0, 0], [seed, position])[token % 8 // 2]
    bits = word >> 32 if token % 2 else word & 0xFFFFFFFF
    assert gumbel_at(seed, position, np.array([token])) == gumbel_of(np.array([bits], dtype=np.uint32))


@given(UINT64, st.integers(0, 2**40), st.sampled_from(Purpose))
def test_uniforms_can_be_made_anywhere_from_their_description(seed: int, position: int, purpose: Purpose) -> None:
    assert uniform(seed, position, purpose) == (philox([1, 0, 0, 1], [seed, position])[purpose] >> 11) / 2**53


@given(UINT64, st.integers(0, 2**40), st.sets(st.integers(0, 999), min_size=1, max_size=30))
def test_any_token_can_be_reached_without_the_row(seed: int, position: int, tokens: set[int]) -> None:
    token_ids = np.array(sorted(tokens))
    np.testing.assert_array_equal(gumbel_at(seed, position, token_ids), gumbel_row(seed, position, 1000)[token_ids])


@given(UINT64, st.integers(0, 2**40), st.integers(1, 300), st.integers(1, 300))
def test_a_larger_vocabulary_only_adds_tokens(seed: int, position: int, small: int, large: int) -> None:
    small, large = sorted((small, large))
    np.testing.assert_array_equal(gumbel_row(seed, position, large)[:small], gumbel_row(seed, position, small))


def test_noise_is_gumbel() -> None:
    noise = np.concatenate([gumbel_row(7, position, 1000) for position in range(200)])
    assert stats.kstest(noise, "gumbel_r").pvalue > 1e-3


def test_rare_large_noise_is_resolved() -> None:
    bits = np.array([0, 1, 2, 2**31, 2**32 - 1], dtype=np.uint32)
    u = (bits.astype(np.float64) + 0.5) / 2**32
    with np.errstate(all="raise"):
        noise = gumbel_of(bits)
    np.testing.assert_allclose(noise[:4], -np.log(-np.log1p(-u[:4])), rtol=1e-6)
    assert noise[4] == pytest.approx(-2.81, abs=0.01)


def test_uniforms_are_uniform_for_each_purpose() -> None:
    for purpose in Purpose:
        numbers = np.array([uniform(3, position, purpose) for position in range(4000)])
        assert stats.kstest(numbers, "uniform").pvalue > 1e-3
        assert (numbers >= 0.0).all()
        assert (numbers < 1.0).all()


def test_purposes_seeds_positions_and_noise_are_independent() -> None:
    """Spearman correlation of n = 3000 pairs within 4 standard deviations of 0."""
    n = 3000
    series = {
        **{purpose.name: [uniform(3, position, purpose) for position in range(n)] for purpose in Purpose},
        "next seed": [uniform(4, position, Purpose.ACCEPT) for position in range(n)],
        "next position": [uniform(3, position + 1, Purpose.ACCEPT) for position in range(n)],
        "noise": [float(gumbel_row(3, position, 1)[0]) for position in range(n)],
        "next token": [float(gumbel_row(3, position, 2)[1]) for position in range(n)],
    }
    correlation = np.asarray(stats.spearmanr(np.array(list(series.values())), axis=1).statistic)
    np.fill_diagonal(correlation, 0.0)
    assert np.abs(correlation).max() < 4 / np.sqrt(n)
