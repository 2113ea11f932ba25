"""The comparison with a recorded server: its clocks, its one fitted number, and the steps read from its sums."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs.vllm_steps import StepCount
from runs.vllm_validation import Timing, check_data, figures, fit_host_s, measured, simulated

from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.models import LatencyConfig

SETTINGS = {"max_num_seqs": 2, "max_num_batched_tokens": 64}
STEPS = LatencyConfig(linear=LinearConfig(base_s=0.010, token_s=0.0))


def write_requests(folder: Path, num_requests: int, gap_s: float) -> None:
    """All with prompts of 50 tokens and answers of 11; the server's clock is 1,000 s behind the client's."""
    rows = [
        {
            "arrival_time": 5000.0 + gap_s * i,
            "queued_ts": 4000.0 + gap_s * i + 0.002 * (i > 0),
            "first_token_ts": 4000.1 + gap_s * i,
            "last_token_ts": 4000.3 + gap_s * i,
            "input_toks": 50,
            "output_toks": 11,
        }
        for i in range(num_requests)
    ]
    (folder / "requests.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_both_clocks_are_aligned_at_the_quickest_arrival(tmp_path: Path) -> None:
    write_requests(tmp_path, 3, 1.0)
    for timing in measured(tmp_path):
        assert timing.ttft_s == pytest.approx(0.1)
        assert timing.token_s == pytest.approx(0.02)


def test_a_server_with_two_places_is_simulated_as_one(tmp_path: Path) -> None:
    """Steps of 10 ms: the third request waits for the end of an answer of the first two, 11 steps and more."""
    write_requests(tmp_path, 3, 0.0)
    first, _, third = simulated(tmp_path, SETTINGS, STEPS)
    assert first.token_s == pytest.approx(0.010, abs=0.001)
    assert third.first_token_s >= first.finished_s
    assert third.ttft_s < 0.2


def test_the_host_time_is_found_again() -> None:
    def run(host_s: float) -> list[Timing]:
        return [Timing(0.0, 1.0, 1.0 + 100 * (0.02 + host_s), 5, 101)]

    assert fit_host_s(run(0.0037), run, 1) == pytest.approx(0.0037, abs=5e-5)


def test_figures_are_of_all_requests() -> None:
    found = figures([Timing(0.0, 1.0, 3.0, 5, 21), Timing(1.0, 4.0, 5.0, 5, 11)])
    assert found["time per token, mean, ms"] == pytest.approx(100.0)
    assert found["TTFT, mean, s"] == 2.0
    assert found["tokens per second"] == pytest.approx(32 / 5)


def test_steps_are_read_from_what_answers_sum_up_to() -> None:
    """Steps of 20 ms in the first ten seconds, of 10 ms afterwards."""
    ends = np.cumsum([0.020] * 500 + [0.010] * 1000)
    rng = np.random.default_rng(0)
    firsts = rng.integers(0, 1000, 200)
    timings = [Timing(0.0, ends[first], ends[first + 400], 50, 401) for first in firsts]
    count = StepCount(timings)
    for begin, step_s in ((4.0, 0.020), (14.0, 0.010)):
        assert 2.0 / (count(begin + 2.0) - count(begin)) == pytest.approx(step_s, rel=0.03)


def test_a_run_that_is_not_there_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no meta.json and no requests.jsonl; say where the recorded run is: --data"
    ):
        check_data(tmp_path)
