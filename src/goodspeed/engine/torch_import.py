"""The door to the engines that need PyTorch: imported when one of them is asked for; nobody else pays for it."""

import importlib
import os
from typing import Any

from goodspeed.engine.target_config import TargetConfig
from goodspeed.errors import ConfigError

SPIN_COUNT = "5000"
"""How long an OpenMP thread that waits for work keeps its core, in turns of a loop (about 0.1 ms).

libgomp's own 300,000 hold it for milliseconds after every forward pass, when drafters on the same machine want to run;
5,000 outlast the pauses within a pass, so it is no slower for it (docs/engine.md).
"""


GPUS = ("/dev/nvidiactl", "/dev/kfd")
"""Devices of the drivers that torch can use (NVIDIA's, AMD's)."""


def keep_cores(config: TargetConfig) -> None:
    """Before the engine is loaded: have each of its threads keep a core of its own, unless the user says otherwise.

    Only where a CPU computes, with a thread for every core that this process may use. Else the system moves a thread
    that it wakes to where another one runs, and after a pause both share a core for tens of milliseconds
    (docs/engine.md). The thread that loads the engine keeps the first core, with all that it starts.
    """
    has_gpu = config.device == "cuda" or (config.device == "auto" and any(os.path.exists(path) for path in GPUS))
    if not has_gpu and (config.threads == 0 or config.threads >= _num_usable_cores()):
        os.environ.setdefault("OMP_PROC_BIND", "true")  # read once, when torch is loaded


def import_torch_module(module: str) -> Any:
    """The module of that name. Raises ConfigError where PyTorch is not installed."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when torch is loaded
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"this engine needs what `pip install 'goodspeed[torch]'` brings: {error}") from error


def _num_usable_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
