"""Step times by size."""

import pytest

from goodspeed.verifier.core.timing.step_curve import StepCurve


def test_sizes_are_known_from_steps_of_about_that_size() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(128, 0.028)
        curve.observe(160, 0.047)
        curve.observe(256, 0.036)
    assert [curve.seconds(size) for size in (130, 160, 250)] == pytest.approx([0.028, 0.047, 0.036], rel=0.02)
    assert curve.seconds(320) is None


def test_all_sizes_follow_a_change_of_the_machines_speed() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(64, 0.02)
        curve.observe(256, 0.04)
    for _ in range(100):
        curve.observe(64, 0.04)
    assert curve.seconds(64) == pytest.approx(0.04, rel=0.02)
    assert curve.seconds(256) == pytest.approx(0.08, rel=0.25)


def test_a_step_without_a_measurable_time_is_ignored() -> None:
    curve = StepCurve()
    curve.observe(4, 0.0)
    assert curve.seconds(4) is None
