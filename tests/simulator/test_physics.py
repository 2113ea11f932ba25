"""What theory says of speculative decoding comes out of the simulation of its parts."""

import numpy as np
import pytest
from tests.simulator.scenes import alone, drafters, scene

from goodspeed.simulator.world import simulate

QUANTILE = 3.3
"""Standard errors that a right simulation exceeds once in a thousand times; seeds are fixed."""


def round_spread(rate: float, window: int) -> float:
    """Standard deviation / mean of the tokens that a round commits."""
    survival = [rate**j * (1 - rate) for j in range(window)] + [rate**window]
    tokens = np.arange(1, window + 2)
    mean = float(np.dot(survival, tokens))
    return float(np.sqrt(np.dot(survival, (tokens - mean) ** 2))) / mean


@pytest.mark.parametrize(("rate", "window", "cost"), [(0.8, 4, 0.1), (0.6, 2, 0.3), (0.9, 8, 0.05), (0.3, 6, 0.2)])
def test_speed_up_without_a_network_is_the_closed_form(rate: float, window: int, cost: float) -> None:
    """(1 - a^(g+1)) / ((1 - a) (g c + 1)): Leviathan, Kalman, Matias 2023, theorem 3.8."""
    num_tokens = 8000
    times_s = []
    for mode in ("fused", "distributed"):
        (answer,) = simulate(alone(mode, rate, window, cost * 0.01, num_tokens)).answers
        times_s.append(answer.finished_s - answer.first_token_s)
    expected = (1 - rate ** (window + 1)) / ((1 - rate) * (window * cost + 1))
    num_rounds = num_tokens * (1 - rate) / (1 - rate ** (window + 1))
    allowed = QUANTILE * round_spread(rate, window) / np.sqrt(num_rounds)
    assert times_s[0] / times_s[1] / expected - 1 == pytest.approx(0.0, abs=allowed)


def test_more_acceptance_is_less_time() -> None:
    times_s = []
    for rate in (0.2, 0.5, 0.8, 0.95):
        result = simulate(scene(drafters(acceptance={"fixed": {"rate": rate}}), duration_s=30.0))
        decoding_s = sum(answer.finished_s - answer.first_token_s for answer in result.answers)
        times_s.append(decoding_s / sum(answer.num_answer_tokens - 1 for answer in result.answers))
    assert times_s == sorted(times_s, reverse=True)
    assert times_s[-1] < 0.6 * times_s[0]
