"""Chooses the torch device and dtype for the names in a config: `engine.target_config` lists the valid names."""

import torch

from goodspeed.engine.target_config import DEVICES, DTYPES
from goodspeed.errors import ConfigError

TORCH_DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}


def choose_device(name: str) -> torch.device:
    """The device of that name; "auto" is cuda if torch finds a CUDA device. Raises ConfigError."""
    if name not in DEVICES:
        raise ConfigError(f"device is {name!r}, expected one of {', '.join(DEVICES)}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch finds no CUDA device")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The dtype of that name; "auto" is bfloat16 if the device has it in hardware. Raises ConfigError."""
    if name not in DTYPES:
        raise ConfigError(f"dtype is {name!r}, expected one of {', '.join(DTYPES)}")
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" or has_native_bf16() else torch.float32
    return TORCH_DTYPES[name]


def has_native_bf16() -> bool:
    """Whether this CPU has bfloat16 products in hardware (AVX-512 BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
