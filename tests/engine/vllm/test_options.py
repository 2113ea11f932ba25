"""Which arguments vLLM's engine gets from the configuration."""

from pathlib import Path
from typing import Any

import pytest

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.vllm.options import SET_BY_GOODSPEED, engine_arguments
from goodspeed.errors import ConfigError

KNOWN = ("model", "dtype", "quantization", "tensor_parallel_size", "enforce_eager", "gpu_memory_utilization")


def arguments(device_type: str = "cuda", device: str = "auto", **options: Any) -> dict[str, Any]:
    config = TargetConfig(device=device, dtype="bf16", kv_memory_mb=100, vllm=options)
    return engine_arguments(config, Path("/models/a"), (*KNOWN, *SET_BY_GOODSPEED), device_type)


def test_options_pass_through_beside_those_of_the_target() -> None:
    found = arguments(tensor_parallel_size=2, quantization="fp8")
    assert (found["tensor_parallel_size"], found["quantization"]) == (2, "fp8")
    assert (found["model"], found["dtype"], found["kv_cache_memory_bytes"]) == ("/models/a", "bfloat16", 100 * 2**20)


def test_option_for_memory_replaces_the_size_of_the_kv_cache() -> None:
    assert "kv_cache_memory_bytes" not in arguments(gpu_memory_utilization=0.9)


def test_cpu_runs_without_compiler_unless_an_option_says_otherwise() -> None:
    assert arguments("cpu")["enforce_eager"] is True
    assert arguments("cpu", enforce_eager=False)["enforce_eager"] is False
    assert "enforce_eager" not in arguments("cuda")


def test_unknown_option_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'target.vllm.quantisation'; did you mean 'quantization'\?"):
        arguments(quantisation="fp8")


@pytest.mark.parametrize("name", SET_BY_GOODSPEED)
def test_option_that_is_set_elsewhere_is_an_error_that_says_where(name: str) -> None:
    with pytest.raises(ConfigError, match=f"target.vllm.{name} is no option: {SET_BY_GOODSPEED[name]}"):
        arguments("cuda", "auto", **{name: 1})


def test_device_that_this_build_does_not_have_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"target.device is 'cuda', this build of vLLM computes on 'cpu'"):
        arguments("cpu", device="cuda")
