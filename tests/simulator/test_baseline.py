"""The speed-ups that verifiers estimate, beside long prompts: a run without drafts must be as fast as itself."""

from typing import Any

import pytest

from goodspeed.simulator.scenario import scenario_of
from goodspeed.simulator.world import simulate

STREAM_DEPENDENT = {"linear": {"base_s": 0.012, "token_s": 0.0005, "stream_s": 0.001}}
GPU = {"kind": "roofline", "roofline": {"shape": "llama-3.1-8b", "device": "h100_sxm"}}
PAUSES = {"closed": {"think_s": 0.5}}
NO_PAUSES = {"closed": {"think_s": 0.0}}
OPEN = {"arrivals": "poisson", "poisson": {"rate": 0.1}}


def estimated(
    latency: dict[str, Any],
    workload: dict[str, Any],
    num_clients: int = 4,
    kv_capacity: int = 10**6,
    seconds: float = 60.0,
    **core: Any,
) -> list[float]:
    """Baseline over elapsed time of every answer whose baseline is known, without drafts."""
    lengths = {
        "prompt": {"distribution": "uniform", "uniform": {"low": 100, "high": 4000}},
        "answer": {"distribution": "fixed", "fixed": {"num_tokens": 60}},
    }
    scenario = scenario_of(
        {
            "duration_s": seconds,
            "mode": "target_only",
            "drafters": [{"count": num_clients, "link": {"rtt_ms": 10.0}, "workload": {**workload, **lengths}}],
            "verifiers": [{"kv_capacity": kv_capacity, "latency": latency, "core": core}],
        }
    )
    return [
        answer.baseline_s / answer.elapsed_s
        for answer in simulate(scenario).answers
        if answer.baseline_s and answer.elapsed_s
    ]


@pytest.mark.parametrize("workload", [PAUSES, NO_PAUSES, OPEN], ids=["pauses", "no pauses", "open loop"])
def test_target_only_answers_beside_long_prompts_are_as_fast_as_the_baseline(workload: dict[str, Any]) -> None:
    speed_ups = estimated(STREAM_DEPENDENT, workload)
    assert len(speed_ups) > 10
    assert speed_ups == pytest.approx([1.0] * len(speed_ups), abs=0.01)


def test_the_wait_for_memory_is_in_neither_time() -> None:
    speed_ups = estimated(STREAM_DEPENDENT, PAUSES, kv_capacity=8_500)
    assert speed_ups == pytest.approx([1.0] * len(speed_ups), abs=0.01)


def test_streams_that_take_turns_are_as_fast_as_the_baseline() -> None:
    speed_ups = estimated(STREAM_DEPENDENT, PAUSES, max_batch_streams=2)
    assert sum(speed_ups) / len(speed_ups) == pytest.approx(1.0, abs=0.01)


def test_the_baseline_is_known_where_every_step_has_prefill() -> None:
    speed_ups = estimated(GPU, NO_PAUSES, num_clients=16, seconds=20.0, prefill_chunk=128)
    assert len(speed_ups) > 20
    assert speed_ups == pytest.approx([1.0] * len(speed_ups), abs=0.02)
