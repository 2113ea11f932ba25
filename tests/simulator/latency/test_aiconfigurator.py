"""Forward passes from measured GPU kernels."""

import importlib.util
import warnings

import pytest

from goodspeed.errors import ConfigError
from goodspeed.simulator.latency.aiconfigurator import AiconfiguratorConfig, MeasuredGpu
from goodspeed.simulator.latency.interpolation_grid import ExtrapolationWarning
from goodspeed.simulator.latency.latency_model import StepShape

has_tables = pytest.mark.skipif(
    not importlib.util.find_spec("aiconfigurator_core"), reason="the measured GPU tables are not installed"
)


def decode(num_streams: int, context: int, window: int = 0) -> StepShape:
    num_tokens = num_streams * (1 + window)
    return StepShape(num_streams, num_tokens, 0, num_streams * context)


@has_tables
@pytest.mark.parametrize(
    ("shape", "gpu", "one_ms", "knee_ms", "many_ms"),
    [
        ("llama-3.1-8b", "a100_sxm", 10.8, 12.8, 33.2),
        ("llama-3.1-8b", "h100_sxm", 5.45, 6.10, 9.58),
        ("qwen3-32b", "h100_sxm", 22.4, 26.0, 43.4),
        ("qwen3-32b", "rtx_pro_6000_server", 44.6, 50.6, 89.5),
        ("qwen3-0.6b", "l40s", 1.78, 1.69, 3.66),
    ],
)
def test_matrix_products_add_up_to_independent_readings_of_the_tables(
    shape: str, gpu: str, one_ms: float, knee_ms: float, many_ms: float
) -> None:
    """At 1, 128 and 512 tokens, by an earlier reading of the same tables; other interpolation, other figures."""
    model = MeasuredGpu(AiconfiguratorConfig(shape=shape, gpu=gpu))
    found = [1e3 * model.products_s(num_tokens) for num_tokens in (1, 128, 512)]
    assert found == pytest.approx([one_ms, knee_ms, many_ms], rel=0.06)


@has_tables
def test_a_step_is_bound_by_reading_weights_and_cache() -> None:
    model = AiconfiguratorConfig(shape="llama-3.1-8b", gpu="h100_sxm").model()
    num_bytes = 2 * 7.5e9 + 64 * 2048 * 131_072
    least_s = num_bytes / 3.35e12
    assert least_s < model.step_s(decode(64, 2048)) < 1.6 * least_s


@has_tables
def test_verifying_a_window_reads_the_cache_once() -> None:
    model = AiconfiguratorConfig().model()
    plain, windowed = model.step_s(decode(16, 4000)), model.step_s(decode(16, 4000, window=3))
    assert windowed < 1.15 * plain


@has_tables
def test_a_later_chunk_of_a_prompt_costs_more_attention() -> None:
    model = AiconfiguratorConfig().model()
    first, later = (model.step_s(StepShape(1, 1024, 1024, context)) for context in (1024, 8192))
    assert 1.05 * first < later < 2 * first


@has_tables
def test_tensor_parallel_speed_up_is_less_than_linear() -> None:
    one, four = (AiconfiguratorConfig(tensor_parallel=number).model().step_s(decode(8, 1000)) for number in (1, 4))
    assert one / 4 < four < one / 2


@has_tables
def test_narrower_weights_are_read_faster() -> None:
    wide, narrow = (AiconfiguratorConfig(weights=kind).model().step_s(decode(1, 100)) for kind in ("bfloat16", "fp8"))
    assert narrow < 0.75 * wide


@has_tables
def test_the_latest_release_of_the_framework_is_used() -> None:
    for framework in ("vllm", "sglang", "trtllm"):
        with warnings.catch_warnings():
            warnings.simplefilter("error", ExtrapolationWarning)
            step_s = AiconfiguratorConfig(framework=framework).model().step_s(decode(8, 1000))
        assert step_s == pytest.approx(0.0065, rel=0.2)


@has_tables
def test_a_context_beyond_the_measured_range_warns() -> None:
    model = AiconfiguratorConfig().model()
    with pytest.warns(ExtrapolationWarning, match="attention of streams: context"):
        model.step_s(decode(64, 100_000))


@has_tables
@pytest.mark.parametrize(
    ("config", "message"),
    [
        (AiconfiguratorConfig(gpu="l4"), "no measurements of gemm 'vllm'"),
        (AiconfiguratorConfig(gpu="apple_m1"), "no measurements of data 'apple_m1'"),
        (AiconfiguratorConfig(framework="vlm"), "no measurements of gemm 'vlm'; did you mean 'vllm'"),
        (AiconfiguratorConfig(weights="int3"), "h100_sxm has no gemm measured by vllm with gemm_dtype int3"),
        (AiconfiguratorConfig(shape="smollm2-135m"), "no attention measured by vllm with num_heads 9"),
    ],
)
def test_a_missing_measurement_raises_an_error_that_names_it(config: AiconfiguratorConfig, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.model()


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"pip install 'goodspeed\[gpu-tables\]'"):
        AiconfiguratorConfig().model()
