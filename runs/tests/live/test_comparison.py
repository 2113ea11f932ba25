"""Arms are compared by seed."""

import pytest
from runs.live.comparison import compare_rates, compare_rounds
from runs.live.run_log import ClientRounds, RunLog, StepTimes

from goodspeed.errors import ConfigError


def run(committed: tuple[int, int]) -> RunLog:
    """Two clients with ten equal rounds, one per second."""
    times = [float(i) for i in range(10)]
    steps = StepTimes(times, times, times, times, [2] * 10, [0] * 10)
    clients = [
        ClientRounds(name, is_opening=[False] * 10, committed=[n] * 10, verified=[1] * 10, at_s=times)
        for name, n in zip("ab", committed, strict=True)
    ]
    return RunLog({}, clients, steps)


def test_gain_is_paired_by_seed_and_ignores_other_seeds() -> None:
    runs = {"fixed": {1: run((1, 1)), 2: run((4, 4))}, "ours": {1: run((2, 1)), 2: run((8, 4)), 3: run((9, 9))}}
    (fixed, ours) = compare_rounds(runs, "fixed", 10)
    assert (fixed.gain.low, fixed.gain.high) == (0.0, 0.0)
    assert ours.num_seeds == 2
    assert (ours.gain.low, ours.gain.high) == pytest.approx((0.6931, 0.6931), abs=1e-4)
    assert ours.wall_ratio.mean == pytest.approx((2 / 3 * 8 / 12) ** 0.5)


def test_each_client_is_compared_with_its_own_baseline() -> None:
    runs = {"fixed": {1: run((2, 4)), 2: run((2, 4))}, "ours": {1: run((4, 3)), 2: run((4, 3))}}
    (_, ours) = compare_rates(runs, "fixed", 0.0, 9.0)
    assert {name: ratio.mean for name, ratio in ours.clients.items()} == pytest.approx({"a": 2.0, "b": 0.75})
    assert ours.ratio.mean == pytest.approx(1.5**0.5)


def test_arm_without_a_seed_of_the_baseline_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no seed in common"):
        compare_rounds({"fixed": {1: run((1, 1))}, "ours": {2: run((1, 1))}}, "fixed", 10)
