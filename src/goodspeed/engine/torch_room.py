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


def import_torch_room(module: str) -> Any:
    """The module of that name. Raises ConfigError where PyTorch is not installed."""
    os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)  # read once, when torch is loaded
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"this engine needs what `pip install 'goodspeed[torch]'` brings: {error}") from error
