"""What is learned of local rounds."""

import pytest

from goodspeed.verifier.core.timing.round_timing import ROUND_WEIGHT
from goodspeed.verifier.core.timing.step_timing import LocalRoundTime, StepTiming


@pytest.mark.parametrize("num_streams", [1, 50])
def test_a_slow_step_counts_once_for_all_its_local_rounds(num_streams: int) -> None:
    """Steps of 20 ms, and one of 100 ms with a long prompt in it."""
    timing = StepTiming()
    for _ in range(100):
        timing.on_local_rounds([LocalRoundTime(0.02, 0.0)] * num_streams)
    timing.on_local_rounds([LocalRoundTime(0.1, 0.0)] * num_streams)
    assert timing.measured_local_s == pytest.approx(0.02 + 0.08 * ROUND_WEIGHT)


def test_a_step_without_local_rounds_says_nothing_of_them() -> None:
    timing = StepTiming()
    timing.on_local_rounds([LocalRoundTime(0.01, 0.002), LocalRoundTime(0.03, 0.004)])
    timing.on_local_rounds([])
    assert (timing.measured_local_s, timing.local_wait_s) == pytest.approx((0.02, 0.003))
