"""The comparison with a recorded server: clocks, the fitted number, and steps computed from sums."""

import json
from pathlib import Path

import numpy as np
import pytest
from runs.vllm_steps import StepCount
from runs.vllm_validation import Timing, check_data, fit_host_s, measured, metrics, simulated

from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.models import LatencyConfig

SETTINGS = {"max_num_seqs": 2, "max_num_batched_tokens": 64}
STEPS = LatencyConfig(linear=LinearConfig(base_s=0.010, token_s=0.0))


def write_requests(folder: Path, num_requests: int, interarrival_s: float) -> None:
    """Requests with prompts of 50 tokens and answers of 11. The server's clock is 1,000 s behind the client's."""
    rows = [
        {
            "arrival_time": 5000.0 + interarrival_s * i,
            "queued_ts": 4000.0 + interarrival_s * i + 0.002 * (i > 0),
            "first_token_ts": 4000.1 + interarrival_s * i,
            "last_token_ts": 4000.3 + interarrival_s * i,
            "input_toks": 50,
            "output_toks": 11,
        }
        for i in range(num_requests)
    ]
    (folder / "requests.jsonl").write_text("\n".join(map(json.dumps, rows)))


def test_clocks_are_aligned_at_the_minimum_delay(tmp_path: Path) -> None:
    write_requests(tmp_path, 3, 1.0)
    for timing in measured(tmp_path):
        assert timing.ttft_s == pytest.approx(0.1)
        assert timing.token_s == pytest.approx(0.02)


def test_limit_on_sequences_is_simulated(tmp_path: Path) -> None:
    """Steps of 10 ms: the third request waits for the end of one of the first two answers, 11 steps or more."""
    write_requests(tmp_path, 3, 0.0)
    first, _, third = simulated(tmp_path, SETTINGS, STEPS)
    assert first.token_s == pytest.approx(0.010, abs=0.001)
    assert third.first_token_s >= first.finished_s
    assert third.ttft_s < 0.2


def test_fit_recovers_the_host_time() -> None:
    def run(host_s: float) -> list[Timing]:
        return [Timing(0.0, 1.0, 1.0 + 100 * (0.02 + host_s), 5, 101)]

    assert fit_host_s(run(0.0037), run, 1) == pytest.approx(0.0037, abs=5e-5)


def test_metrics_are_over_all_requests() -> None:
    found = metrics([Timing(0.0, 1.0, 3.0, 5, 21), Timing(1.0, 4.0, 5.0, 5, 11)])
    assert found["time per token, mean, ms"] == pytest.approx(100.0)
    assert found["TTFT, mean, s"] == 2.0
    assert found["tokens per second"] == pytest.approx(32 / 5)


def test_step_times_are_recovered_from_sums() -> None:
    """Steps take 20 ms in the first ten seconds and 10 ms afterwards."""
    ends = np.cumsum([0.020] * 500 + [0.010] * 1000)
    rng = np.random.default_rng(0)
    firsts = rng.integers(0, 1000, 200)
    timings = [Timing(0.0, ends[first], ends[first + 400], 50, 401) for first in firsts]
    count = StepCount(timings)
    for start, step_s in ((4.0, 0.020), (14.0, 0.010)):
        assert 2.0 / (count(start + 2.0) - count(start)) == pytest.approx(step_s, rel=0.03)


def test_missing_run_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"has no meta.json and no requests.jsonl; give the folder of the recorded run with --data"
    ):
        check_data(tmp_path)
