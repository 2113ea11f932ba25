"""The engine that `auto` chooses, and what it says about it."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
from tests.gguf_files import write_gguf

from goodspeed.engine.auto_target import choose_engine
from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch.device import has_native_bf16
from goodspeed.errors import CheckpointError

needs_llama = pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")


def config(path: Path, dtype: str = "auto") -> TargetConfig:
    return TargetConfig(model=str(path), dtype=dtype, device="cpu")


@needs_llama
def test_gguf_file_runs_by_llama_cpp_where_bfloat16_is_slow(tmp_path: Path) -> None:
    """On the machine of the test."""
    expected = "torch" if has_native_bf16() else "llama_cpp"
    name, reason = choose_engine(config(write_gguf(tmp_path / "small.gguf")))
    assert name == expected
    assert "bfloat16" in reason


@needs_llama
def test_architecture_that_torch_does_not_run_goes_to_llama_cpp(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf", "gemma3")
    assert choose_engine(config(path)) == ("llama_cpp", "torch does not run the architecture gemma3")


def test_dtype_and_checkpoint_folders_are_for_torch(random_checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "small.gguf", "gemma3")
    assert choose_engine(config(path, "fp32")) == ("torch", "dtype is fp32")
    assert choose_engine(config(random_checkpoint("llama")))[0] == "torch"


@needs_llama
def test_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cut.gguf").write_bytes(write_gguf(tmp_path / "whole.gguf").read_bytes()[:500])
    with pytest.raises(CheckpointError, match="cannot read"):
        choose_engine(config(tmp_path / "cut.gguf"))
