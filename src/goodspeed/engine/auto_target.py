"""Chooses the target engine for a model on this machine: `engine = "auto"`.

Where the CPU multiplies bfloat16, torch is faster from four streams on; elsewhere llama.cpp is always faster
(docs/measurements/llama_cpp.md).
"""

from importlib.util import find_spec

from goodspeed.engine.target_config import TargetConfig
from goodspeed.engine.torch_import import import_torch_module
from goodspeed.errors import CheckpointError
from goodspeed.models.catalog import locate_gguf

AUTO = "auto"
TORCH, LLAMA = "torch", "llama_cpp"


def choose_engine(config: TargetConfig) -> tuple[str, str]:
    """The name of the engine, and why. Raises CheckpointError if the model is a GGUF file that cannot be read."""
    if reason := _why_only_torch(config):
        return TORCH, reason
    if find_spec("torch") is None:
        return LLAMA, "PyTorch is not installed"
    path = locate_gguf(config.model)
    architecture = import_torch_module("goodspeed.models.gguf").GgufFile(path).architecture
    if architecture != "llama":
        return LLAMA, f"torch does not run the architecture {architecture}"
    return _faster(config.device)


def _why_only_torch(config: TargetConfig) -> str:
    """Empty if llama.cpp can run the model as configured."""
    if config.dtype != "auto":
        return f"dtype is {config.dtype}"
    if find_spec("llama_cpp") is None:
        return "llama.cpp is not installed"
    try:
        locate_gguf(config.model)
    except CheckpointError:
        return f"{config.model} is no GGUF file"
    return ""


def _faster(device_name: str) -> tuple[str, str]:
    device = import_torch_module("goodspeed.engine.torch.device")
    if device.choose_device(device_name).type != "cpu":
        return TORCH, "there is a GPU"
    if device.has_native_bf16():
        return TORCH, "this CPU multiplies bfloat16"
    return LLAMA, "this CPU does not multiply bfloat16"
