"""Device and dtype names of configs."""

from collections.abc import Callable
from functools import partial

import pytest
import torch

from goodspeed.engine.drafts import DraftConfig
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.device import choose_device, choose_dtype, has_native_bf16
from goodspeed.errors import ConfigError
from goodspeed.tuning.tuning_config import DistilConfig

CPU = torch.device("cpu")


def test_auto_dtype_follows_the_hardware() -> None:
    assert choose_dtype("auto", CPU) is (torch.bfloat16 if has_native_bf16() else torch.float32)
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("fp32", CPU) is torch.float32


def test_a_missing_cuda_device_is_a_config_error() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("config", [TargetConfig, DraftConfig, partial(DistilConfig, data="data", out="out")])
@pytest.mark.parametrize(("key", "value", "known"), [("dtype", "fp8", "bf16"), ("device", "cuad", "cuda")])
def test_an_unknown_device_or_dtype_is_refused_with_the_known_ones(
    config: Callable[..., object], key: str, value: str, known: str
) -> None:
    with pytest.raises(ConfigError, match=rf"{key} is '{value}', expected one of .*{known}"):
        config(**{key: value})


def test_unknown_names_are_refused_without_a_config() -> None:
    with pytest.raises(ConfigError, match="device is 'tpu', expected one of auto, cpu, cuda"):
        choose_device("tpu")
    with pytest.raises(ConfigError, match="dtype is 'fp8', expected one of auto, bf16, fp32"):
        choose_dtype("fp8", CPU)
