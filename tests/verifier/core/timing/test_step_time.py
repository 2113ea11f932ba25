"""The step-time model on series of steps whose true times are known."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from goodspeed.simulator.latency.latency_model import StepShape
from goodspeed.simulator.latency.roofline import RooflineConfig
from goodspeed.verifier.core.timing.step_time import StepTimeModel

TrueTime = Callable[[int, int], float]


def cpu_s(num_tokens: int, num_streams: int) -> float:
    return 0.0115 + 0.00056 * num_tokens + 0.0011 * num_streams


def gpu_s(num_tokens: int, num_streams: int) -> float:
    """An 8B model on an H100, flat up to its knee; contexts of 500 tokens."""
    return GPU.step_s(StepShape(num_streams, num_tokens, 0, 500 * num_streams + num_tokens))


GPU = RooflineConfig(shape="llama-3.1-8b", device="h100_sxm").model()
A100 = RooflineConfig(shape="llama-3.1-8b", device="a100_sxm").model()


class Steps:
    """Feeds a model with steps of random sizes: up to `max_draft` draft tokens of each stream."""

    def __init__(self, true_s: TrueTime, noise: float = 0.05, seed: int = 0) -> None:
        self.model = StepTimeModel()
        self.slowness = 1.0
        self._true_s, self._noise = true_s, noise
        self._rng = np.random.default_rng(seed)

    def run(self, num_steps: int, num_streams: tuple[int, int] = (1, 4), max_draft: int = 4) -> None:
        for _ in range(num_steps):
            streams = int(self._rng.integers(num_streams[0], num_streams[1] + 1))
            self.observe(streams + int(self._rng.binomial(max_draft * streams, 0.5)), streams)

    def observe(self, num_tokens: int, num_streams: int, slowness: float = 1.0) -> None:
        step_s = slowness * self.slowness * self._true_s(num_tokens, num_streams)
        self.model.observe(num_tokens, num_streams, step_s * float(np.exp(self._rng.normal(0.0, self._noise))))

    def check(self, *sizes: tuple[int, int], rel: float = 0.05) -> None:
        """Compare predictions for these numbers of tokens and streams with the truth."""
        for size in sizes:
            assert self.model.predict(*size) == pytest.approx(self.slowness * self._true_s(*size), rel=rel), size


def test_the_cost_of_a_stream_is_not_attributed_to_its_draft_tokens() -> None:
    steps = Steps(cpu_s)
    steps.run(200)
    assert steps.model.token_s == pytest.approx(0.00056, rel=0.15)
    steps.check((1, 1), (4, 4), (20, 4))


@pytest.mark.parametrize("slowness", [0.2, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("max_draft", [1, 4, 8])
def test_a_change_of_speed_is_followed_and_not_attributed_to_the_tokens(slowness: float, max_draft: int) -> None:
    """Steps after the change have other numbers of tokens than steps before it, as if the scheduler had reacted."""
    steps = Steps(cpu_s)
    steps.run(300)
    steps.slowness = slowness
    steps.run(30, max_draft=max_draft)
    assert steps.model.token_s == pytest.approx(slowness * 0.00056, rel=0.3)
    steps.check((1, 1), (4, 4), (12, 4), rel=0.08)


def test_a_slow_drift_is_not_attributed_to_tokens_that_drift_with_it() -> None:
    steps = Steps(cpu_s, noise=0.02)
    steps.run(100)
    for i in range(400):
        steps.slowness = 1.0 + i / 400
        steps.run(1, max_draft=1 + i // 60)
    assert steps.model.token_s == pytest.approx(2 * 0.00056, rel=0.25)
    steps.check((4, 4), rel=0.08)


def test_outliers_change_nothing() -> None:
    steps = Steps(cpu_s, noise=0.03)
    for i in range(400):
        steps.run(1)
        if i % 40 == 20:
            steps.observe(10, 4, slowness=10.0)
    assert steps.model.token_s == pytest.approx(0.00056, rel=0.2)
    steps.check((4, 4), (12, 4))


def test_a_slow_first_step_is_forgotten_at_once() -> None:
    steps = Steps(cpu_s)
    steps.observe(4, 4, slowness=20.0)
    steps.run(20)
    steps.check((12, 4), rel=0.15)


def test_the_slope_outlasts_equal_steps_and_follows_the_speed() -> None:
    steps = Steps(cpu_s)
    steps.run(200)
    for slowness, num_steps in ((1.0, 3000), (2.0, 30)):
        steps.slowness = slowness
        for _ in range(num_steps):
            steps.observe(8, 4)
    assert steps.model.token_s == pytest.approx(2 * 0.00056, rel=0.15)
    steps.check((4, 4), (8, 4), (20, 4))


def test_the_slope_is_that_of_the_present_load() -> None:
    """At 16 streams a token costs little; at 128 streams the steps are beyond the knee."""
    steps = Steps(gpu_s, noise=0.01)
    for num_streams in ((12, 16), (120, 128), (12, 16)):
        steps.run(400, num_streams)
        mean_streams = sum(num_streams) // 2
        size = 3 * mean_streams
        slope = (gpu_s(size + 8, mean_streams) - gpu_s(size - 8, mean_streams)) / 16
        assert steps.model.token_s == pytest.approx(slope, rel=0.3, abs=2e-6)
        steps.check((size, mean_streams), (2 * mean_streams, mean_streams), rel=0.05)


def test_a_rise_of_the_load_beyond_the_knee_is_not_a_slower_machine() -> None:
    def a100_s(num_tokens: int, num_streams: int) -> float:
        return A100.step_s(StepShape(num_streams, num_tokens, 0, 500 * num_streams + num_tokens))

    steps = Steps(a100_s, noise=0.01)
    steps.run(300, (8, 20))
    steps.run(40, (120, 128))
    steps.check((42, 14), (372, 124), (124, 124), rel=0.1)


def test_prefill_does_not_change_the_slope_and_has_a_cost_of_its_own() -> None:
    steps = Steps(cpu_s)
    rng = np.random.default_rng(1)
    for _ in range(300):
        steps.run(1)
        num_prompt = int(rng.integers(32, 129))
        step_s = cpu_s(8, 3) + 0.0002 * num_prompt
        steps.model.observe(8 + num_prompt, 3, step_s, num_prompt)
    assert steps.model.token_s == pytest.approx(0.00056, rel=0.15)
    steps.check((4, 4), (12, 4))
    assert steps.model.predict(108, 3, 100) == pytest.approx(cpu_s(8, 3) + 0.02, rel=0.05)


def test_slopes_are_learned_where_nearly_every_step_has_prefill() -> None:
    steps = Steps(cpu_s)
    rng = np.random.default_rng(2)
    for step in range(600):
        if step % 30 == 0:
            steps.run(1)
        num_tokens, num_prompt = int(rng.integers(3, 16)), int(rng.integers(16, 65))
        step_s = (cpu_s(num_tokens, 3) + 0.0002 * num_prompt) * math.exp(rng.normal(0.0, 0.05))
        steps.model.observe(num_tokens + num_prompt, 3, step_s, num_prompt)
    assert steps.model.token_s == pytest.approx(0.00056, rel=0.15)


def test_other_sizes_are_predicted_only_after_steps_of_different_sizes() -> None:
    model = StepTimeModel()
    for _ in range(20):
        model.observe(7, 1, 0.010)
    assert model.can_predict(7)
    assert not model.can_predict(1)
    assert not model.knows_slopes
    assert model.token_s == 0.0
    model.observe(3, 1, 0.008)
    assert model.can_predict(1)
    assert model.predict(1, 1) == pytest.approx(0.007)


def test_streams_alone_may_change() -> None:
    model = StepTimeModel()
    for num_streams in (1, 2) * 10:
        model.observe(4, num_streams, 0.010 + 0.001 * num_streams)
    assert not model.knows_slopes
    assert model.predict(4, 2) == pytest.approx(0.0115, rel=0.1)


def test_steps_without_a_measurable_time_are_no_evidence() -> None:
    model = StepTimeModel()
    for num_tokens in (3, 4) * 20:
        model.observe(num_tokens, 1, 0.0)
    assert not model.can_predict(4)
    assert (model.predict(4, 1), model.mean_s) == (0.0, None)


def test_no_prediction_is_negative() -> None:
    model = StepTimeModel()
    for num_tokens, seconds in ((10, 0.1), (1, 0.0001)) * 20:
        model.observe(num_tokens, 1, seconds)
    assert model.predict(0, 0) >= 0.0
