"""Step times by size."""

from collections.abc import Callable

import pytest

from goodspeed.scheduling.step_size import StepSize, best_num_tokens
from goodspeed.verifier.core.timing.step_curve import StepCurve, bin_ends

NUM_STREAMS = 64


def sawtooth_s(num_tokens: int) -> float:
    """As an fp8 product of vLLM on an H200 (aiconfigurator-core 0.12): a jump behind 128 and 256, then a slow fall."""
    return 0.026 if num_tokens <= 128 else 0.048 - 0.0001 * (num_tokens - 128)


def line_s(num_tokens: int) -> float:
    return 0.014 + 0.00046 * num_tokens


def chosen(curve: StepCurve, values: list[float], own_value: float) -> int:
    """Tokens of the step that pays best by the curve."""
    totals = [NUM_STREAMS, *bin_ends(NUM_STREAMS + 1, NUM_STREAMS + len(values))]
    seconds = zip(totals, curve.seconds(totals), strict=True)
    return NUM_STREAMS + best_num_tokens(values, own_value, [StepSize(n - NUM_STREAMS, found) for n, found in seconds])


def rate(step_s: Callable[[int], float], num_tokens: int, values: list[float], own_value: float) -> float:
    """Value per second of a step."""
    return (own_value + sum(values[: num_tokens - NUM_STREAMS])) / step_s(num_tokens)


def test_sizes_are_known_from_steps_of_about_that_size() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(128, 0.028)
        curve.observe(160, 0.047)
        curve.observe(256, 0.036)
    assert curve.seconds([125, 160, 250]) == pytest.approx([0.028, 0.047, 0.036], rel=0.02)


def test_a_size_is_not_mixed_with_those_behind_a_jump() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(128, 0.027)
        curve.observe(129, 0.048)
    assert curve.seconds([128, 129]) == pytest.approx([0.027, 0.048], rel=0.02)


def test_a_size_without_a_step_is_as_good_as_the_known_ones_allow() -> None:
    curve = StepCurve()
    curve.observe(128, 0.028)
    curve.observe(256, 0.036)
    assert curve.seconds([64, 192, 512]) == pytest.approx([0.009, 0.027, 0.028], rel=0.05)


def test_sizes_end_where_their_leading_bits_change() -> None:
    assert list(bin_ends(1, 9)) == list(range(1, 10))
    assert list(bin_ends(100, 160)) == [104, 112, 120, 128, 144, 160]
    assert list(bin_ends(130, 150)) == [144, 150]


@pytest.mark.parametrize("first", [64, 128, 200, 256], ids=lambda first: f"after steps of {first}")
@pytest.mark.parametrize("step_s", [sawtooth_s, line_s])
def test_the_best_size_is_found_whatever_was_known_before(step_s: Callable[[int], float], first: int) -> None:
    curve, values, own_value = StepCurve(), [0.9**j for j in range(1, 193)], 10.0
    for _ in range(100):
        curve.observe(first, step_s(first))
    for _ in range(60):
        size = chosen(curve, values, own_value)
        curve.observe(size, step_s(size))
    best = max(rate(step_s, NUM_STREAMS + num, values, own_value) for num in range(len(values) + 1))
    rates = []
    for _ in range(200):
        size = chosen(curve, values, own_value)
        curve.observe(size, step_s(size))
        rates.append(rate(step_s, size, values, own_value))
    assert sum(rates) / len(rates) > 0.98 * best


def test_a_size_with_one_unlucky_step_is_tried_again() -> None:
    curve, values = StepCurve(), [0.5] * 64
    curve.observe(128, 0.1)
    sizes = []
    for _ in range(10_000):
        sizes.append(chosen(curve, values, 64.0))
        curve.observe(sizes[-1], 0.026)
    assert 128 not in sizes[10:1000]
    assert sizes[-1000:].count(128) > 900


def test_all_sizes_follow_a_change_of_the_machines_speed() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(64, 0.02)
        curve.observe(256, 0.04)
    for _ in range(100):
        curve.observe(64, 0.04)
    assert curve.seconds([64, 256]) == pytest.approx([0.04, 0.08], rel=0.25)


def test_what_a_token_costs_is_not_taken_for_slowness() -> None:
    """Five tokens seemed to take as long as four. They take a quarter longer, and one step in 33 has four."""
    curve = StepCurve()
    for _ in range(30):
        curve.observe(4, 0.044)
        curve.observe(5, 0.044)
    for _ in range(8):
        for _ in range(32):
            curve.observe(5, 0.055)
        curve.observe(4, 0.044)
    four_s, five_s = curve.seconds([4, 5])
    assert five_s / four_s == pytest.approx(1.25, rel=0.05)


def test_a_single_slow_step_changes_little() -> None:
    curve = StepCurve()
    for _ in range(30):
        curve.observe(4, 0.040)
        curve.observe(8, 0.060)
    curve.observe(8, 0.600)
    assert curve.seconds([4, 8]) == pytest.approx([0.040, 0.060], rel=0.1)


def test_a_step_without_a_measurable_time_is_ignored() -> None:
    curve = StepCurve()
    curve.observe(4, 0.0)
    assert curve.seconds([4]) == []
