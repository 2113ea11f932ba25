"""Metrics of hand-made run logs."""

import math

import numpy as np
import pytest
from runs.live.run_log import ClientRounds, RunLog, StepTimes
from runs.live.run_metrics import (
    efficiency,
    fairness,
    goodputs,
    moving_average,
    per_second,
    running_utility,
    time_split,
    utility,
    wall_s_per_token,
)

STEPS = StepTimes(
    closed_s=[1.0, 2.0, 3.5],
    verified_s=[1.5, 2.6, 4.0],
    sending_s=[1.6, 2.7, 4.0],
    sent_s=[1.65, 2.9, 4.2],
    num_draft_tokens=[4, 4, 2],
    num_prefill_tokens=[0, 8, 0],
)


def client(name: str, committed: list[int], openings: tuple[int, ...] = ()) -> ClientRounds:
    n = len(committed)
    is_opening = [i in openings for i in range(n)]
    verified = [0 if opening else 3 for opening in is_opening]
    return ClientRounds(
        name,
        step=list(range(n)),
        at_s=STEPS.verified_s[:n],
        is_opening=is_opening,
        verified=verified,
        committed=committed,
    )


def run_log(*clients: ClientRounds) -> RunLog:
    return RunLog({}, list(clients), STEPS)


def test_phases_cover_the_run_without_overlap() -> None:
    split = time_split(STEPS)
    assert split.verification == pytest.approx(0.5 + 0.6 + 0.5)
    assert split.deciding == pytest.approx(0.1 + 0.1 + 0.0)
    assert split.sending == pytest.approx(0.05 + 0.2 + 0.2)
    assert split.receiving == pytest.approx(0.35 + 0.6)
    assert split.total == pytest.approx(4.2 - 1.0)


def test_verdict_sent_during_the_next_step_is_not_counted_twice() -> None:
    steps = StepTimes([0.0, 1.0], [0.5, 1.5], [0.5, 1.5], [1.3, 1.5], [1, 1], [0, 0])
    split = time_split(steps)
    assert split.total == pytest.approx(1.5)
    assert split.sending == pytest.approx(0.5)


def test_run_without_steps_has_no_time() -> None:
    assert time_split(StepTimes()).total == 0.0


def test_openings_are_not_rounds_but_count_in_time() -> None:
    one = client("a", [1, 3, 5], openings=(0,))
    assert goodputs(one, 2).tolist() == [3.0, 5.0]
    assert per_second(one, 0.0, 4.0) == pytest.approx(9 / 4)
    assert wall_s_per_token(run_log(one)) == pytest.approx(3.2 / 9)
    assert efficiency(run_log(one)) == pytest.approx(8 / (2 * 4))


def test_goodput_per_second_counts_tokens_between_the_times() -> None:
    assert per_second(client("a", [1, 3, 5]), 1.5, 3.5) == pytest.approx(3 / 2)


def test_utility_is_the_log_of_the_mean_not_the_mean_of_logs() -> None:
    run = run_log(client("a", [1, 5, 3]), client("b", [1, 1, 4]))
    assert utility(run, 2) == pytest.approx(math.log(3.0) + math.log(1.0))
    expected = [0.0, math.log(3.0), math.log(3.0) + math.log(2.0)]
    np.testing.assert_allclose(running_utility(run, 3), expected)
    assert fairness(run, 2) == pytest.approx(16 / (2 * 10))


def test_moving_average_starts_with_fewer_values() -> None:
    assert moving_average([2, 4, 6, 8], 2) == pytest.approx([2, 3, 5, 7])
