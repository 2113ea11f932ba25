"""The present time of a step, by its tokens and streams."""

import numpy as np
import pytest

from goodspeed.verifier.core.timing.step_time import DifferenceStepTime


def test_other_sizes_are_predicted_only_after_steps_of_different_sizes() -> None:
    step = DifferenceStepTime()
    for _ in range(20):
        step.observe(7, 1, 0.010)
    assert step.can_predict(7)
    assert not step.can_predict(1)
    step.observe(3, 1, 0.008)
    assert step.can_predict(1)
    assert step.predict(1, 1) == pytest.approx(0.007)


def test_steps_without_a_measurable_time_are_no_evidence() -> None:
    step = DifferenceStepTime()
    for num_tokens in (3, 4) * 20:
        step.observe(num_tokens, 1, 0.0)
    assert not step.can_predict(4)


@pytest.mark.parametrize("slowness", [5.0, 0.2])
def test_a_change_of_speed_is_followed_and_not_attributed_to_the_tokens(slowness: float) -> None:
    """Steps before the change have other numbers of tokens than steps after it."""
    rng = np.random.default_rng(0)
    step = DifferenceStepTime()
    for num_tokens in rng.integers(6, 16, 150):
        step.observe(int(num_tokens), 1, rng.normal(0.013 + 0.0005 * num_tokens, 0.0005))
    for num_tokens in rng.integers(2, 9, 60):
        step.observe(int(num_tokens), 1, slowness * rng.normal(0.013 + 0.0005 * num_tokens, 0.0005))
    for num_tokens in (1, 4, 10):
        assert step.predict(num_tokens, 1) == pytest.approx(slowness * (0.013 + 0.0005 * num_tokens), rel=0.08)


def test_no_prediction_is_negative() -> None:
    step = DifferenceStepTime()
    for num_tokens, seconds in ((10, 0.1), (1, 0.0001)) * 20:
        step.observe(num_tokens, 1, seconds)
    assert step.predict(0, 0) >= 0.0


def test_the_cost_of_a_stream_is_not_attributed_to_its_draft_tokens() -> None:
    rng = np.random.default_rng(0)
    step = DifferenceStepTime()
    for _ in range(200):
        num_streams = int(rng.integers(1, 5))
        num_tokens = num_streams + int(rng.binomial(4 * num_streams, 0.5))
        step.observe(num_tokens, num_streams, 0.012 + 0.0005 * num_tokens + 0.0012 * num_streams)
    for num_streams in (1, 4):
        expected = 0.012 + 0.0017 * num_streams
        assert step.predict(num_streams, num_streams) == pytest.approx(expected, rel=0.02)
