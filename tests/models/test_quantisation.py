"""Few bits keep a matrix as well as they can."""

import numpy as np
import pytest

from goodspeed.models.quantisation import GROUP, quantise, restore


def matrix(rows: int = 40, columns: int = 3 * GROUP) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(0).normal(size=(rows, columns)).astype(np.float32)


@pytest.mark.parametrize(("bits", "most"), [(2, 0.61), (3, 0.26), (4, 0.13), (5, 0.066), (6, 0.034), (8, 0.009)])
def test_error_halves_with_every_bit(bits: int, most: float) -> None:
    weight = matrix()
    error = np.sqrt(np.mean((restore(quantise(weight, bits)) - weight) ** 2) / np.mean(weight**2))
    assert error < most


def test_size_is_the_bits_and_a_scale_for_each_group() -> None:
    assert quantise(matrix(), 5).num_bytes == 40 * 3 * GROUP * 5 // 8 + 40 * 3 * 2


def test_zeros_and_steps_are_kept_exactly() -> None:
    weight = np.zeros((2, GROUP), np.float32)
    weight[1] = np.arange(GROUP) % 15 - 7
    np.testing.assert_array_equal(restore(quantise(weight, 4)), weight)


def test_one_large_weight_spoils_its_own_group_only() -> None:
    weight = matrix(4)
    spoilt = weight.copy()
    spoilt[0, 0] = 100.0
    found, expected = restore(quantise(spoilt, 4)), restore(quantise(weight, 4))
    np.testing.assert_array_equal(found[:, GROUP:], expected[:, GROUP:])
    np.testing.assert_array_equal(found[1:], expected[1:])
