"""The weight of clients that are below their own baseline."""

import pytest

from goodspeed.scheduling.floor_multiplier import MAX_FACTOR, FloorMultiplier


def test_a_client_above_its_baseline_has_its_own_weight() -> None:
    floor = FloorMultiplier()
    for _ in range(10):
        floor.observe(1.3, 1.0)
    assert floor.factor == 1.0


def test_a_client_below_its_baseline_counts_more_until_it_is_back() -> None:
    floor = FloorMultiplier()
    for _ in range(10):
        floor.observe(0.8, 1.0)
    raised = floor.factor
    assert raised > 4.0
    for _ in range(10):
        floor.observe(1.1, 1.0)
    assert floor.factor < raised / 4.0


def test_what_one_client_can_cost_is_limited() -> None:
    floor = FloorMultiplier()
    for _ in range(100):
        floor.observe(0.1, 1.0)
    assert floor.factor == pytest.approx(MAX_FACTOR)


def test_no_time_is_no_evidence() -> None:
    floor = FloorMultiplier()
    floor.observe(0.0, 0.0)
    assert floor.factor == 1.0
