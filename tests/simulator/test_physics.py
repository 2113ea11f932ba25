"""The simulation reproduces the theory of speculative decoding."""

import numpy as np
import pytest

from goodspeed.simulator.world import simulate
from goodspeed.testing.scenarios import drafter_tier, single_stream, small_scenario

QUANTILE = 3.3
"""Standard errors that a correct simulation exceeds with probability 1/1000. Seeds are fixed."""


def round_spread(rate: float, window: int) -> float:
    """The coefficient of variation of the tokens that a round commits."""
    survival = [rate**j * (1 - rate) for j in range(window)] + [rate**window]
    tokens = np.arange(1, window + 2)
    mean = float(np.dot(survival, tokens))
    return float(np.sqrt(np.dot(survival, (tokens - mean) ** 2))) / mean


@pytest.mark.parametrize(("rate", "window", "cost"), [(0.8, 4, 0.1), (0.6, 2, 0.3), (0.9, 8, 0.05), (0.3, 6, 0.2)])
def test_speed_up_without_network_delay_equals_the_closed_form(rate: float, window: int, cost: float) -> None:
    """(1 - a^(g+1)) / ((1 - a) (g c + 1)): Leviathan, Kalman, Matias 2023, theorem 3.8."""
    num_tokens = 4000
    times_s = []
    for mode in ("target_only", "distributed"):
        (answer,) = simulate(single_stream(mode, rate, window, cost * 0.01, num_tokens)).answers
        times_s.append(answer.finished_s - answer.first_token_s)
    expected = (1 - rate ** (window + 1)) / ((1 - rate) * (window * cost + 1))
    num_rounds = num_tokens * (1 - rate) / (1 - rate ** (window + 1))
    allowed = QUANTILE * round_spread(rate, window) / np.sqrt(num_rounds)
    assert times_s[0] / times_s[1] / expected - 1 == pytest.approx(0.0, abs=allowed)


def test_higher_acceptance_takes_less_time() -> None:
    times_s = []
    for rate in (0.2, 0.5, 0.8, 0.95):
        result = simulate(small_scenario(drafter_tier(acceptance={"fixed": {"rate": rate}}), duration_s=15.0))
        decoding_s = sum(answer.finished_s - answer.first_token_s for answer in result.answers)
        times_s.append(decoding_s / sum(answer.num_answer_tokens - 1 for answer in result.answers))
    assert times_s == sorted(times_s, reverse=True)
    assert times_s[-1] < 0.6 * times_s[0]


def per_token_s(mode: str, rtt_ms: float, scheduler: str = "fixed") -> float:
    """Seconds per token of one drafter: acceptance 0.8, window 4, draft steps of 1 ms and target steps of 10 ms."""
    workload = {
        "closed": {"think_s": 0.0},
        "prompt": {"distribution": "fixed", "fixed": {"num_tokens": 4}},
        "answer": {"distribution": "fixed", "fixed": {"num_tokens": 600}},
    }
    tier = drafter_tier(
        count=1,
        link={"rtt_ms": rtt_ms},
        latency={"linear": {"base_s": 0.001, "token_s": 0.0}},
        window={"policy": "fixed", "max_tokens": 4},
        acceptance={"fixed": {"rate": 0.8}},
        workload=workload,
    )
    verifier = {
        "latency": {"linear": {"base_s": 0.01, "token_s": 0.0}},
        "core": {"scheduler": scheduler, "budget": 4},
    }
    result = simulate(small_scenario(tier, verifiers=[verifier], mode=mode, duration_s=25.0))
    decoding_s = sum(answer.finished_s - answer.first_token_s for answer in result.answers)
    return decoding_s / sum(answer.num_answer_tokens - 1 for answer in result.answers)


def test_distributed_mode_is_faster_until_the_round_trip_costs_what_speculation_saves() -> None:
    """A round takes (1 + g c) T + RTT for mu tokens; target-only they take mu T: equal at RTT = (mu - 1 - g c) T."""
    mean_tokens = (1 - 0.8**5) / (1 - 0.8)
    crossover_ms = 10.0 * (mean_tokens - 1 - 4 * 0.1)
    assert crossover_ms == pytest.approx(19.6, abs=0.1)
    assert per_token_s("distributed", 0.85 * crossover_ms) < per_token_s("target_only", 0.85 * crossover_ms)
    assert per_token_s("distributed", 1.15 * crossover_ms) > per_token_s("target_only", 1.15 * crossover_ms)
    assert per_token_s("target_only", 100.0) == pytest.approx(per_token_s("target_only", 0.0), rel=0.01)


@pytest.mark.parametrize("rtt_ms", [0.0, 10.0, 25.0, 100.0])
def test_default_scheduler_is_close_to_the_faster_of_target_only_and_equal_split(rtt_ms: float) -> None:
    """Beyond the crossover a client runs in target-only mode; exploration takes at most a twentieth of the time."""
    by_default, target_only_s = per_token_s("distributed", rtt_ms, "time_aware"), per_token_s("target_only", rtt_ms)
    equal_split = per_token_s("distributed", rtt_ms)
    assert by_default < 1.06 * min(target_only_s, equal_split)


def num_answered(routing: str, rate: float) -> int:
    """Answers within 20 s by two verifiers, one of them eight times as slow."""
    tier = drafter_tier(count=8, workload={"arrivals": "poisson", "poisson": {"rate": rate}})
    verifiers = [
        {"name": name, "kv_capacity": 3000, "latency": {"linear": {"base_s": base_s, "token_s": base_s / 40}}}
        for name, base_s in (("fast", 0.01), ("slow", 0.08))
    ]
    return len(simulate(small_scenario(tier, verifiers=verifiers, routing=routing, duration_s=20.0)).answers)


def test_join_shortest_queue_beats_round_robin_under_load() -> None:
    assert abs(num_answered("jsq", 0.1) - num_answered("round_robin", 0.1)) <= 1
    assert num_answered("jsq", 0.6) > 1.15 * num_answered("round_robin", 0.6)
