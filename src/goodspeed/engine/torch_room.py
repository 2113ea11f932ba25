"""The door to the engines that need PyTorch: imported when one of them is asked for; nobody else pays for it."""

import importlib
import os
from typing import Any

from goodspeed.errors import ConfigError

SPIN_COUNT = "5000"
"""How long an OpenMP thread that waits for work keeps its core, in turns of a loop (about 0.1 ms).

libgomp's own 300,000 hold it for milliseconds after every forward pass, when drafters on the same machine want to run;
5,000 outlast the pauses within a pass, so it is no slower for it (docs/engine.md).
"""


def keep_cores(num_threads: int) -> None:
    """Before the engine is loaded: have each of its threads keep a core of its own, unless the user says otherwise.

    Only where there is a thread for every core that this process may use (`num_threads` 0 means so). Otherwise the
    system moves a thread that it wakes to where another one runs, and after a pause both share a core for tens of
    milliseconds (docs/engine.md). The thread that loads the engine keeps the first core, with all that it starts.
    """
    if num_threads == 0 or num_threads >= _num_cores():
        os.environ.setdefault("OMP_PROC_BIND", "true")  # read once, when torch is loaded


def import_torch_room(module: str) -> Any:
    """The module of that name. Raises ConfigError where PyTorch is not installed."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when torch is loaded
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"this engine needs what `pip install 'goodspeed[torch]'` brings: {error}") from error


def _num_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
