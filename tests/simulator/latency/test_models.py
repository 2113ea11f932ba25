"""The contract of every registered latency model, and their configuration."""

import importlib.util
import warnings
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from goodspeed.config import from_mapping
from goodspeed.errors import ConfigError
from goodspeed.profiling.profile_grid import ProfileCell
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig
from goodspeed.simulator.latency.interpolation_grid import ExtrapolationWarning
from goodspeed.simulator.latency.latency_model import LatencyModel, StepShape
from goodspeed.simulator.latency.linear import LinearConfig
from goodspeed.simulator.latency.measured_table import MeasuredTableConfig
from goodspeed.simulator.latency.models import LATENCIES, LatencyConfig

NOISE = 0.03
"""Measured tables are not quite monotone: a step may be cheaper than a smaller one by this share."""

CONFIGS = {
    "linear": LatencyConfig(linear=LinearConfig(0.01, 1e-4, 1e-8, 1e-6, 1e-5)),
    "roofline": LatencyConfig(kind="roofline"),
    "aiconfigurator": LatencyConfig(kind="aiconfigurator", aiconfigurator=AiconfiguratorConfig(gpu="a100_sxm")),
}


def table_config(folder: Path) -> LatencyConfig:
    """Tables of an engine that reads its weights in 10 ms, the time of 100 tokens' arithmetic."""

    def cell(streams: int, tokens: int, context: int) -> ProfileCell:
        seconds = max(0.010, 1e-4 * streams * tokens) + 1e-7 * streams * context
        return ProfileCell(streams, tokens, context, seconds, seconds, seconds)

    verify = [cell(s, t, c) for s in (1, 4, 16, 64) for t in (1, 4, 16, 1024) for c in (1, 64, 1024)]
    prefill = [cell(1, tokens, 1024) for tokens in (32, 128, 1024)]
    path = folder / "steps.json"
    path.write_bytes(msgspec.json.encode({"schema": 3, "verify": verify, "prefill": prefill, "drafting": []}))
    return LatencyConfig(kind="table", table=MeasuredTableConfig(str(path)))


def decode(num_streams: int, window: int = 0, context: int = 500) -> StepShape:
    """A step in which every stream verifies `window` draft tokens."""
    num_tokens = num_streams * (1 + window)
    return StepShape(num_streams, num_tokens, 0, num_streams * context + num_tokens)


@pytest.fixture(params=list(LATENCIES))
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LatencyModel]:
    kind = request.param
    if kind == "aiconfigurator" and not importlib.util.find_spec("aiconfigurator_core"):
        pytest.skip("the measured GPU tables are not installed")
    config = table_config(tmp_path) if kind == "table" else CONFIGS[kind]
    assert config.kind == kind
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExtrapolationWarning)
        yield config.model()


def test_steps_take_time_and_are_deterministic(model: LatencyModel) -> None:
    for shape in (decode(1), decode(8, 4), StepShape(1, 128, 128, 128), StepShape(5, 132, 128, 2132)):
        assert 0.0 < model.step_s(shape) < 10.0
        assert model.step_s(shape) == model.step_s(shape)


def test_more_tokens_are_not_cheaper(model: LatencyModel) -> None:
    for shapes in (
        [decode(streams) for streams in (1, 2, 4, 8, 16, 32)],
        [decode(4, window) for window in (0, 1, 2, 4, 8, 16)],
        [StepShape(1, tokens, tokens, tokens) for tokens in (16, 64, 128, 256, 512)],
    ):
        steps_s = [model.step_s(shape) for shape in shapes]
        for i, step_s in enumerate(steps_s):
            assert step_s >= (1 - NOISE) * max(steps_s[:i], default=0.0)
        assert steps_s[-1] > steps_s[0]


def test_more_context_is_not_cheaper(model: LatencyModel) -> None:
    steps_s = [model.step_s(decode(8, 1, context)) for context in (64, 256, 512, 1024)]
    assert steps_s == sorted(steps_s)
    assert steps_s[-1] > steps_s[0]


def test_a_batch_is_cheaper_than_its_streams_in_sequence(model: LatencyModel) -> None:
    assert model.step_s(decode(16)) < 16 * model.step_s(decode(1))


def test_small_steps_share_a_base_cost_and_large_ones_grow(model: LatencyModel) -> None:
    """Tokens share the time of reading the weights until their arithmetic takes longer."""
    one, knee, many = (model.step_s(decode(1, window)) for window in (0, 63, 1023))
    assert knee / 64 < 0.05 * one
    assert many > 2 * knee


def test_host_time_is_added_to_each_step_and_stream() -> None:
    plain = LatencyConfig().model()
    hosted = LatencyConfig(host_s=0.002, host_stream_s=0.001).model()
    assert hosted.step_s(decode(3)) == pytest.approx(plain.step_s(decode(3)) + 0.005)


def test_the_model_is_chosen_by_kind() -> None:
    config = from_mapping(LatencyConfig, {"kind": "linear", "linear": {"base_s": 1, "token_s": 0.5}})
    assert config.model().step_s(decode(4)) == 3.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "liner"}, r"^kind is 'liner', expected one of .*; did you mean 'linear'"),
        ({"host_s": -1.0}, "host_s is -1.0, expected 0 or more"),
        ({"linear": {"base_s": -0.1}}, "base_s is -0.1, expected 0 or more"),
        ({"linear": {"base_s": 0, "token_s": 0}}, "expected a step to take some time"),
        ({"linear": {"base": 1}}, "unknown key 'linear.base'; did you mean 'base_s'"),
    ],
)
def test_wrong_values_raise_an_error_that_names_them(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        from_mapping(LatencyConfig, values)
