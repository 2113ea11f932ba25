"""The contract of every registered estimator, and the differences between them.

Statistical tests have fixed seeds. Where a bound is on an estimate it is at least 4 standard errors wide (two-sided
error below 1e-4 for one seed drawn at random).
"""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from goodspeed.scheduling.estimators.paper import PaperEstimator
from goodspeed.scheduling.estimators.prior import INITIAL_ACCEPTANCE_RATE
from goodspeed.scheduling.policies import ESTIMATORS
from goodspeed.scheduling.scheduler import Estimator

REALISED_GOODPUT = ["paper", "censored", "survival"]  # eq. 4
CENSORED = sorted(set(ESTIMATORS) - {"paper"})
BY_POSITION = ["survival", "adaptive_survival"]
ADAPTIVE = ["adaptive", "adaptive_survival"]

rounds_strategy = st.lists(st.integers(0, 16).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=50)


def accepted(rng: np.random.Generator, rates: list[float], num_proposed: int) -> int:
    """How many of `num_proposed` tokens are accepted: token j with rates[j] if all before it are."""
    rejected = np.flatnonzero(rng.random(num_proposed) >= rates[:num_proposed])
    return int(rejected[0]) if len(rejected) else num_proposed


def feed(estimator: Estimator, rates: list[float], num_rounds: int, seed: int = 3, longest: int = 6) -> None:
    """Rounds of 1 to `longest` draft tokens."""
    rng = np.random.default_rng(seed)
    for _ in range(num_rounds):
        num_proposed = int(rng.integers(1, longest + 1))
        estimator.on_verdict(num_proposed, accepted(rng, rates, num_proposed))


def curve(estimator: Estimator, num_positions: int) -> list[float]:
    """The survival curve as a scheduler reads it: geometric past its end."""
    values = list(estimator.survival[:num_positions])
    while len(values) < num_positions:
        values.append((values[-1] if values else 1.0) * estimator.acceptance_rate)
    return values


@pytest.mark.parametrize("name", ESTIMATORS)
@given(rounds=rounds_strategy, beta=st.floats(0.0, 1.0), eta=st.floats(0.0, 1.0))
def test_estimates_stay_in_range(name: str, rounds: list[tuple[int, int]], beta: float, eta: float) -> None:
    estimator = ESTIMATORS[name](beta, eta)
    for num_proposed, num_accepted in rounds:
        if num_accepted == 3:
            estimator.on_stream()
        estimator.on_verdict(num_proposed, num_accepted)
        assert 0.0 < estimator.acceptance_rate < 1.0
        assert 1.0 <= estimator.goodput <= 17.0
        steps = [1.0, *curve(estimator, 20)]
        assert all(0.0 < later <= earlier for earlier, later in itertools.pairwise(steps))


@pytest.mark.parametrize("name", ESTIMATORS)
@given(rounds=rounds_strategy)
def test_same_verdicts_give_the_same_estimates(name: str, rounds: list[tuple[int, int]]) -> None:
    first, second = ESTIMATORS[name](0.1, 0.05), ESTIMATORS[name](0.1, 0.05)
    for num_proposed, num_accepted in rounds:
        first.on_verdict(num_proposed, num_accepted)
        second.on_verdict(num_proposed, num_accepted)
    assert (first.acceptance_rate, first.goodput) == (second.acceptance_rate, second.goodput)
    assert list(first.survival) == list(second.survival)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_empty_rounds_keep_the_acceptance_rate_and_pull_goodput_to_one(name: str) -> None:
    estimator = ESTIMATORS[name](0.5, 0.1)
    for _ in range(5):
        estimator.on_verdict(4, 3)
    before = estimator.acceptance_rate, list(estimator.survival)
    for _ in range(150):
        estimator.on_verdict(0, 0)
    assert (estimator.acceptance_rate, list(estimator.survival)) == before
    assert estimator.goodput == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("name", REALISED_GOODPUT)
def test_goodput_follows_equation_4(name: str) -> None:
    estimator = ESTIMATORS[name](0.5, 0.1)
    estimator.on_verdict(4, 3)  # commits 4
    assert estimator.goodput == pytest.approx(0.5 * 1.0 + 0.5 * 4.0)
    estimator.on_verdict(4, 0)
    assert estimator.goodput == pytest.approx(0.5 * 2.5 + 0.5 * 1.0)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_adaptive_goodput_is_the_expected_one_without_the_noise_of_rounds(name: str) -> None:
    estimator = ESTIMATORS[name](0.0, 0.0)
    feed(estimator, [0.7] * 6, 3000)
    for _ in range(60):  # typical rounds of 4 tokens
        estimator.on_verdict(4, 4)
        estimator.on_verdict(4, 1)
    settled = estimator.goodput
    estimator.on_verdict(4, 0)  # would move eq. 4 by beta times 2 tokens, but hardly moves the expectation
    assert estimator.goodput == pytest.approx(settled, abs=0.1)
    assert estimator.goodput == pytest.approx(1.0 + sum(curve(estimator, 4)), abs=0.1)


def test_paper_estimator_follows_equation_3_over_drafted_positions() -> None:
    estimator = PaperEstimator(beta=0.5, eta=0.1)
    estimator.on_verdict(4, 1)
    assert estimator.acceptance_rate == pytest.approx(0.9 * INITIAL_ACCEPTANCE_RATE + 0.1 * 1 / 4)


def mean_estimate(name: str, acceptance_rate: float, grant: int) -> float:
    """Mean of the estimate over 2000 rounds after 200 rounds of warm-up."""
    rng = np.random.default_rng(3)
    estimator = ESTIMATORS[name](0.1, 0.02)
    estimates = []
    for _ in range(2200):
        estimator.on_verdict(grant, accepted(rng, [acceptance_rate] * grant, grant))
        estimates.append(estimator.acceptance_rate)
    return float(np.mean(estimates[200:]))


@pytest.mark.parametrize("name", CENSORED)
@pytest.mark.parametrize("grant", [1, 12])
@pytest.mark.parametrize("acceptance_rate", [0.3, 0.6, 0.9])
def test_estimates_from_censored_evidence_are_unbiased(name: str, acceptance_rate: float, grant: int) -> None:
    # At least 2000 tokens verified: 4 standard errors are 4 sqrt(.25 / 2000) = .045.
    assert mean_estimate(name, acceptance_rate, grant) == pytest.approx(acceptance_rate, abs=0.045)


def test_paper_estimate_is_too_low_for_long_proposals() -> None:
    assert mean_estimate("paper", 0.6, 8) < 0.25


MEASURED_RATES = [0.27, 0.41, 0.44, 0.54, 0.70, 0.78]  # of a small draft model by position: far from geometric


def test_survival_converges_to_a_curve_that_is_not_geometric() -> None:
    rates = [rate**0.3 for rate in MEASURED_RATES]
    estimator = ESTIMATORS["survival"](0.1, 0.0005)
    feed(estimator, rates, 4000)
    # The first position is verified 4000 times, the sixth about 200 times: 4 standard errors of its survival are .045.
    np.testing.assert_allclose(estimator.survival, np.cumprod(rates), atol=0.045)


@pytest.mark.parametrize("name", BY_POSITION)
def test_survival_by_position_is_nearer_to_the_truth_than_geometric_survival(name: str) -> None:
    """The mean over estimates, since the adaptive estimator remembers only a hundred rounds."""
    rates = [rate**0.3 for rate in MEASURED_RATES]
    estimator = ESTIMATORS[name](0.1, 0.01)
    curves, geometric = [], []
    for seed in range(60):
        feed(estimator, rates, 50, seed)
        curves.append(list(estimator.survival))
        geometric.append(estimator.acceptance_rate ** np.arange(1, 7))
    error, geometric_error = (
        np.linalg.norm(np.mean(estimates[5:], axis=0) - np.cumprod(rates)) for estimates in (curves, geometric)
    )
    assert error < 0.75 * geometric_error


@pytest.mark.parametrize("name", BY_POSITION)
def test_positions_never_verified_continue_with_the_pooled_rate(name: str) -> None:
    estimator = ESTIMATORS[name](0.1, 0.05)
    for _ in range(50):
        estimator.on_verdict(2, 2)
    estimator.on_verdict(8, 2)  # the third position was verified once, later ones never
    values = curve(estimator, 8)
    assert len(estimator.survival) == 8
    assert values[5] / values[4] == pytest.approx(estimator.acceptance_rate, rel=0.05)
    assert values[2] / values[1] > 0.8, "one rejection must not close a position"


@pytest.mark.parametrize("name", ADAPTIVE)
def test_steps_shrink_while_the_load_is_steady(name: str) -> None:
    def step_after(num_rounds: int) -> float:
        """How far one rejection moves the estimate: the median of 15 runs."""
        steps = []
        for seed in range(15):
            estimator = ESTIMATORS[name](0.0, 0.0)
            feed(estimator, [0.7] * 6, num_rounds, seed)
            before = estimator.acceptance_rate
            estimator.on_verdict(4, 0)
            steps.append(before - estimator.acceptance_rate)
        return float(np.median(steps))

    assert 0.0 < step_after(300) < step_after(30) / 2 < step_after(3) / 4


@pytest.mark.parametrize("name", ADAPTIVE)
@pytest.mark.parametrize(("before", "after"), [(0.8, 0.4), (0.4, 0.8)])
def test_a_change_of_load_is_followed_within_forty_rounds(name: str, before: float, after: float) -> None:
    # Forty rounds of 1 to 6 tokens verify about 60 to 110: 4 standard errors of a fresh estimate are below .26.
    errors = []
    for seed in range(10):
        estimator = ESTIMATORS[name](0.0, 0.0)
        feed(estimator, [before] * 6, 1000, seed)
        feed(estimator, [after] * 6, 40, seed + 100)
        errors.append(estimator.acceptance_rate - after)
    assert np.max(np.abs(errors)) < 0.26
    assert abs(np.mean(errors)) < 0.08  # 4 standard errors of the mean of ten


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_steady_load_is_estimated_better_than_with_a_fixed_step_size(name: str) -> None:
    def rms_error(name: str) -> float:
        errors = []
        for seed in range(20):
            estimator = ESTIMATORS[name](0.1, 0.05)
            feed(estimator, [0.6] * 6, 300, seed)
            for _ in range(5):
                feed(estimator, [0.6] * 6, 30, seed)
                errors.append(estimator.acceptance_rate - 0.6)
        return float(np.sqrt(np.mean(np.square(errors))))

    # 0.036 against 0.078 with a fixed step size; a ratio of two errors from 20 runs has a standard error of about 0.1.
    assert rms_error(name) < 0.75 * rms_error("censored")


@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_new_prompt_starts_between_the_last_rate_and_the_clients_and_is_learned_fast(name: str) -> None:
    def after_prompt(is_reported: bool, num_accepted: int) -> float:
        estimator = ESTIMATORS[name](0.0, 0.0)
        for seed in range(20):
            feed(estimator, [0.7 if seed % 2 else 0.5] * 6, 20, seed)  # prompts of .5 and .7, the last one .7
        if is_reported:
            estimator.on_stream()
        for _ in range(3):
            estimator.on_verdict(4, num_accepted)
        return estimator.acceptance_rate

    assert after_prompt(True, 0) < after_prompt(False, 0) - 0.05
    assert after_prompt(True, 4) > after_prompt(False, 4)


@pytest.mark.parametrize("name", ADAPTIVE)
def test_similar_prompts_lose_little_of_the_evidence(name: str) -> None:
    estimator = ESTIMATORS[name](0.0, 0.0)
    for seed in range(20):
        estimator.on_stream()
        feed(estimator, [0.7] * 6, 20, seed)
    estimator.on_stream()
    assert estimator.acceptance_rate == pytest.approx(0.7, abs=0.1)
