"""From a config to an engine: what it says of itself, and what it refuses."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.linear import has_native_bf16
from goodspeed.engine.torch.loading import choose_device, choose_dtype, load_target
from goodspeed.errors import CheckpointError, ConfigError
from goodspeed.models.tokenizer import Tokenizer


def test_the_engine_says_what_it_is(random_checkpoint: Callable[..., Path]) -> None:
    folder = random_checkpoint("llama", max_position_embeddings=128)
    target = load_target(TargetConfig(model=str(folder), dtype="fp32", device="cpu", kv_memory_mb=1))
    info = target.info
    assert info.model == str(folder)
    assert info.tokenizer_fingerprint == Tokenizer.load(folder).fingerprint
    assert (info.vocab_size, info.max_context, info.end_tokens) == (320, 128, (0,))
    assert info.kv_capacity == 2**20 // (2 * 2 * 2 * 16 * 4)  # keys and values, layers, heads, head_dim, bytes
    assert target.is_batch_invariant


def test_the_context_can_be_cut_and_never_stretched(random_checkpoint: Callable[..., Path]) -> None:
    folder = str(random_checkpoint("llama", max_position_embeddings=128))
    contexts = {
        wanted: load_target(TargetConfig(model=folder, device="cpu", max_context=wanted)).info.max_context
        for wanted in (100, 1000)
    }
    assert contexts == {100: 100, 1000: 128}


def test_a_context_never_exceeds_the_memory(random_checkpoint: Callable[..., Path]) -> None:
    folder = str(random_checkpoint("llama", max_position_embeddings=100_000))
    info = load_target(TargetConfig(model=folder, dtype="fp32", device="cpu", kv_memory_mb=1)).info
    assert info.max_context == info.kv_capacity == 2048


def test_auto_precision_follows_the_hardware() -> None:
    cpu = torch.device("cpu")
    assert choose_dtype("auto", cpu) is (torch.bfloat16 if has_native_bf16() else torch.float32)
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("fp32", cpu) is torch.float32


def test_what_cannot_be_is_refused_in_words(tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        with pytest.raises(ConfigError, match="no CUDA device"):
            choose_device("cuda")
    with pytest.raises(CheckpointError):
        load_target(TargetConfig(model=str(tmp_path)))
    for wrong in ({"dtype": "fp8"}, {"device": "tpu"}, {"threads": -1}, {"kv_memory_mb": 0}):
        with pytest.raises(ConfigError):
            TargetConfig(**wrong)
