"""The two-sample test against scipy's, and on samples that are and are not alike."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from goodspeed.stats.chi_square import two_sample_p_value


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2, 0.3])
@pytest.mark.parametrize("num_second", [2000, 5000])
def test_p_value_is_scipys(shift: float, num_second: int) -> None:
    rng = np.random.default_rng(3)
    first = Counter(np.rint(rng.normal(0.0, 1.0, 2000)).astype(int).tolist())
    second = Counter(np.rint(rng.normal(shift, 1.0, num_second)).astype(int).tolist())
    common = [value for value in first.keys() | second.keys() if first[value] + second[value] >= 10]
    table = np.array([[counts[value] for value in common] for counts in (first, second)])
    rare = np.array([[first.total()], [second.total()]]) - table.sum(axis=1, keepdims=True)
    expected = float(stats.chi2_contingency(np.hstack([table, rare]) if rare.any() else table).pvalue)
    assert two_sample_p_value(first, second) == pytest.approx(expected, rel=1e-6)


def test_p_values_of_like_samples_are_uniform() -> None:
    rng = np.random.default_rng(4)
    p_values = [
        two_sample_p_value(Counter(rng.poisson(3.0, 300).tolist()), Counter(rng.poisson(3.0, 300).tolist()))
        for _ in range(300)
    ]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_one_value_only_is_no_evidence() -> None:
    assert two_sample_p_value(Counter([1] * 50), Counter([1] * 50)) == 1.0
