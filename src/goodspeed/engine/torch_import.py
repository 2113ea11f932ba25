"""Imports the modules that need PyTorch, only when one of their engines is used."""

import importlib
import os
from typing import Any

from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import ConfigError
from goodspeed.extras import missing_extra

GPU_DEVICES = ("/dev/nvidiactl", "/dev/kfd")
"""Device files of the drivers that torch supports: NVIDIA and AMD."""


def keep_cores(config: TargetConfig) -> None:
    """Bind each OpenMP thread of the engine to its own core, unless the user has set OMP_PROC_BIND.

    Call it before torch is imported. It applies only to an engine that computes on the CPU with a thread for every core
    that this process may use. Without it the system may wake a thread on a core where another one runs; after a pause
    both share that core for tens of milliseconds (docs/explain/engine.md). The thread that imports torch, and every
    thread and process that it starts afterwards, is bound to the first core.
    """
    has_gpu = config.device == "cuda" or (config.device == "auto" and any(os.path.exists(path) for path in GPU_DEVICES))
    if not has_gpu and (config.threads == 0 or config.threads >= _num_usable_cores()):
        os.environ.setdefault("OMP_PROC_BIND", "true")  # OpenMP reads it once, when torch is imported


def import_torch_module(module: str) -> Any:
    """The module of that name. Raises ConfigError if PyTorch is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(missing_extra("this engine", "torch", error)) from error


def _num_usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
