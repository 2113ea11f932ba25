"""The contract of every registered estimator, and what sets them apart."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.scheduling.estimators import INITIAL_ACCEPTANCE_RATE, CensoredEstimator, PaperEstimator
from goodspeed.scheduling.policies import ESTIMATORS

rounds_strategy = st.lists(st.integers(0, 16).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=50)


@pytest.mark.parametrize("name", ESTIMATORS)
@given(rounds=rounds_strategy, beta=st.floats(0.0, 1.0), eta=st.floats(0.0, 1.0))
def test_estimates_stay_in_range(name: str, rounds: list[tuple[int, int]], beta: float, eta: float) -> None:
    estimator = ESTIMATORS[name](beta, eta)
    for num_proposed, num_accepted in rounds:
        estimator.on_verdict(num_proposed, num_accepted)
        assert 0.0 < estimator.acceptance_rate < 1.0
        assert 1.0 <= estimator.goodput <= 17.0


@pytest.mark.parametrize("name", ESTIMATORS)
def test_empty_rounds_keep_the_acceptance_rate_and_pull_goodput_to_one(name: str) -> None:
    estimator = ESTIMATORS[name](0.5, 0.1)
    for _ in range(5):
        estimator.on_verdict(4, 3)
    before = estimator.acceptance_rate
    for _ in range(50):
        estimator.on_verdict(0, 0)
    assert estimator.acceptance_rate == before
    assert estimator.goodput == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_goodput_follows_equation_4(name: str) -> None:
    estimator = ESTIMATORS[name](0.5, 0.1)
    estimator.on_verdict(4, 3)  # commits 4
    assert estimator.goodput == pytest.approx(0.5 * 1.0 + 0.5 * 4.0)
    estimator.on_verdict(4, 0)
    assert estimator.goodput == pytest.approx(0.5 * 2.5 + 0.5 * 1.0)


def test_paper_estimator_follows_equation_3_over_drafted_positions() -> None:
    estimator = PaperEstimator(beta=0.5, eta=0.1)
    estimator.on_verdict(4, 1)
    assert estimator.acceptance_rate == pytest.approx(0.9 * INITIAL_ACCEPTANCE_RATE + 0.1 * 1 / 4)


def mean_estimate(name: str, acceptance_rate: float, grant: int) -> float:
    """Mean of the estimate over 4000 rounds after 200 of warming up."""
    rng = np.random.default_rng(3)
    estimator = ESTIMATORS[name](0.1, 0.02)
    estimates = []
    for _ in range(4200):
        estimator.on_verdict(grant, min(grant, int(rng.geometric(1.0 - acceptance_rate)) - 1))
        estimates.append(estimator.acceptance_rate)
    return float(np.mean(estimates[200:]))


@pytest.mark.parametrize("grant", [1, 4, 12])
@pytest.mark.parametrize("acceptance_rate", [0.3, 0.6, 0.9])
def test_censored_estimate_is_right_at_any_grant(acceptance_rate: float, grant: int) -> None:
    assert mean_estimate("censored", acceptance_rate, grant) == pytest.approx(acceptance_rate, abs=0.03)


def test_paper_estimate_reads_low_on_long_proposals() -> None:
    assert mean_estimate("paper", 0.6, 8) < 0.25
    assert CensoredEstimator(0.1, 0.1).acceptance_rate == PaperEstimator(0.1, 0.1).acceptance_rate
